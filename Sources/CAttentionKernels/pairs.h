// The product of bfloat16 with packed bfloat16, included once for each way to add the products of pairs, after defining
//   ADD_PAIRS(sum, x, y)  sum + the products of the pairs in the words of x and y,
//   PAIRS(name)           the name of function `name` for it.

/// One block, in registers over the whole depth: `block_rows` rows of `vectors` vectors, both constants. Where
/// `vectors` is 1, only the first `part` columns are read and written.
INLINE void PAIRS(pair_block)(const int block_rows, const int vectors, size_t part, float *out, size_t out_stride,
                              bool continues, const uint16_t *a, size_t a_stride, const uint32_t *panel,
                              size_t pairs) {
    lanes sum[TILE_ROWS][TILE_VECTORS];
    UNROLL for (int r = 0; r < block_rows; r++)
        UNROLL for (int v = 0; v < vectors; v++) {
            const float *first = out + (size_t)r * out_stride + (size_t)v * LANES;
            sum[r][v] = !continues ? (lanes){0} : vectors == 1 ? load_part(first, part) : load(first);
        }
    for (size_t k = 0; k < pairs; k++) {
        lanes row[TILE_VECTORS];
        UNROLL for (int v = 0; v < vectors; v++)
            memcpy(&row[v], panel + k * TILE_VECTORS * LANES + (size_t)v * LANES, sizeof row[v]);
        UNROLL for (int r = 0; r < block_rows; r++) {
            uint32_t pair;
            memcpy(&pair, a + (size_t)r * a_stride + 2 * k, sizeof pair);
            lanes left = (lanes)(pair - (uint_lanes){0});
            UNROLL for (int v = 0; v < vectors; v++) sum[r][v] = ADD_PAIRS(sum[r][v], left, row[v]);
        }
    }
    UNROLL for (int r = 0; r < block_rows; r++)
        UNROLL for (int v = 0; v < vectors; v++) {
            float *to = out + (size_t)r * out_stride + (size_t)v * LANES;
            if (vectors == 1)
                store_part(to, sum[r][v], part);
            else
                store(to, sum[r][v]);
        }
}

/// Up to TILE_ROWS rows of `vectors` vectors.
INLINE void PAIRS(pair_rows)(size_t rows, const int vectors, size_t part, float *out, size_t out_stride,
                             bool continues, const uint16_t *a, size_t a_stride, const uint32_t *panel,
                             size_t pairs) {
#define BLOCK(n) PAIRS(pair_block)(n, vectors, part, out, out_stride, continues, a, a_stride, panel, pairs)
    WITH_CONSTANT(BLOCK, rows < TILE_ROWS ? rows : TILE_ROWS)
#undef BLOCK
}

static void PAIRS(product_packed_bfloat16)(float *out, size_t out_stride, bool continues, const uint16_t *a,
                                           size_t a_stride, const uint32_t *panels, size_t panel_stride, size_t rows,
                                           size_t columns, size_t pairs) {
    enum { WIDTH = TILE_VECTORS * LANES };
    // As `product_packed`: a few rows of `a` stay in the first-level cache while the panels pass by.
    for (size_t r = 0; r < rows; r += TILE_ROWS)
        for (size_t c = 0; c < columns; c += WIDTH) {
            float *to = out + r * out_stride + c;
            const uint16_t *from = a + r * a_stride;
            const uint32_t *panel = panels + c / WIDTH * panel_stride;
            if (columns - c >= WIDTH)
                PAIRS(pair_rows)(rows - r, TILE_VECTORS, 0, to, out_stride, continues, from, a_stride, panel, pairs);
            else
                for (size_t v = 0; v < columns - c; v += LANES)
                    PAIRS(pair_rows)(rows - r, 1, columns - c - v < LANES ? columns - c - v : LANES, to + v,
                                     out_stride, continues, from, a_stride, panel + v, pairs);
        }
}

/// `block_rows` rows, a constant, times up to LANES rows of `b`, as `transposed_block`; strides of `b` are in bytes.
INLINE void PAIRS(turned_pair_block)(const int block_rows, float *out, size_t out_stride, const uint16_t *a,
                                     size_t a_stride, const uint8_t *b, size_t b_stride, size_t columns,
                                     size_t pairs) {
    lanes sum[FEW_ROWS], words[LANES];
    UNROLL for (int r = 0; r < block_rows; r++) sum[r] = (lanes){0};
    const uint8_t *ahead = b + LANES * b_stride;
    for (size_t k = 0; k < pairs; k += LANES) {
        size_t count = pairs - k < LANES ? pairs - k : LANES;
        UNROLL for (size_t i = 0; i < LANES * LANES / 16; i++) __builtin_prefetch(ahead + 64 * i, 0, 3);
        ahead += 4 * LANES * LANES;
        load_turned(words, b + 4 * k, b_stride, columns, 4 * count);
        UNROLL for (size_t i = 0; i < LANES; i++) {
            if (i >= count) continue;
            UNROLL for (int r = 0; r < block_rows; r++) {
                uint32_t pair;
                memcpy(&pair, a + (size_t)r * a_stride + 2 * (k + i), sizeof pair);
                sum[r] = ADD_PAIRS(sum[r], (lanes)(pair - (uint_lanes){0}), words[i]);
            }
        }
    }
    UNROLL for (int r = 0; r < block_rows; r++)
        store_part(out + (size_t)r * out_stride, sum[r], columns);
}

static void PAIRS(product_transposed_bfloat16)(float *out, size_t out_stride, const uint16_t *a, size_t a_stride,
                                               const uint16_t *b, size_t b_stride, size_t rows, size_t columns,
                                               size_t pairs) {
    for (size_t c = 0; c < columns; c += LANES) {
        size_t part = columns - c < LANES ? columns - c : LANES;
        size_t r = 0;
#define BLOCK(n) \
    for (; rows - r >= n; r += n) \
    PAIRS(turned_pair_block)(n, out + r * out_stride + c, out_stride, a + r * a_stride, a_stride, \
                             (const uint8_t *)(b + c * b_stride), 2 * b_stride, part, pairs)
#if LANES == 16
        BLOCK(8);
#endif
        BLOCK(4);
        BLOCK(2);
        BLOCK(1);
#undef BLOCK
    }
}

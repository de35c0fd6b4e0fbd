// `attend` of `flash.h` for bfloat16: what is multiplied is bfloat16, in pairs, and what is added is float32. Included by
// `avx512.c` after `vector.h`, with vdpbf16ps turned on.

INLINE __m512bh broadcast_pair(const float *pair) {
    int32_t bits;
    memcpy(&bits, pair, sizeof bits);
    return (__m512bh)_mm512_set1_epi32(bits);
}

/// `score_block` of `flash.h`, with pairs of elements along the depth.
INLINE void score_pairs_block(const int vectors, float *scores, size_t score_stride, lanes largest[TILE_ROWS],
                              const float *const queries[TILE_ROWS], const float *panel, size_t depth, float scale,
                              const visible_keys *visible, size_t key) {
    lanes sum[TILE_ROWS][TILE_VECTORS];
    UNROLL for (int r = 0; r < TILE_ROWS; r++)
        UNROLL for (int v = 0; v < vectors; v++) sum[r][v] = (lanes){0};
    for (size_t k = 0; k < depth; k++) {
        __m512bh column[TILE_VECTORS];
        UNROLL for (int v = 0; v < vectors; v++)
            column[v] = (__m512bh)load(panel + k * TILE_VECTORS * LANES + (size_t)v * LANES);
        UNROLL for (int r = 0; r < TILE_ROWS; r++) {
            __m512bh query = broadcast_pair(queries[r] + k);
            UNROLL for (int v = 0; v < vectors; v++)
                sum[r][v] = (lanes)_mm512_dpbf16_ps((__m512)sum[r][v], query, column[v]);
        }
    }
    finish_scores(vectors, sum, scores, score_stride, largest, scale, visible, key);
}

/// `weigh` of `flash.h`; the weights, rounded to bfloat16, lie side by side from the beginning of the row on.
INLINE lanes weigh_pairs(float *row, size_t first, size_t end, float shift) {
    lanes sum[WEIGHT_SUMS] = {{0}, {0}, {0}, {0}};
    for (size_t v = first; v < end; v += WEIGHT_SUMS) {
        lanes weight[WEIGHT_SUMS];
        UNROLL for (size_t i = 0; i < WEIGHT_SUMS; i++) {
            weight[i] = v + i < end ? exp_below(load(row + (v + i) * LANES) - shift) : (lanes){0};
            sum[i] += weight[i];
        }
        // They come to lie before what is still to be read.
        UNROLL for (size_t i = 0; i < WEIGHT_SUMS; i += 2) {
            __m512bh pairs = _mm512_cvtne2ps_pbh((__m512)weight[i + 1], (__m512)weight[i]);
            store(row + (v + i) * LANES / 2, (lanes)pairs);
        }
    }
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

INLINE void value_pairs_block(const int rows, const int vectors, size_t part, float *averages, size_t width,
                              const float *weights, size_t weight_stride, const float *values, size_t value_stride,
                              size_t pairs) {
    lanes sum[TILE_ROWS][TILE_VECTORS];
    UNROLL for (int r = 0; r < rows; r++)
        UNROLL for (int v = 0; v < vectors; v++) {
            const float *start = averages + (size_t)r * width + (size_t)v * LANES;
            sum[r][v] = vectors == 1 ? (lanes)load_part(start, part) : load(start);
        }
    for (size_t k = 0; k < pairs; k++) {
        __m512bh value[TILE_VECTORS];
        UNROLL for (int v = 0; v < vectors; v++) {
            const float *start = values + k * value_stride + (size_t)v * LANES;
            value[v] = (__m512bh)(vectors == 1 ? (lanes)load_part(start, part) : load(start));
        }
        UNROLL for (int r = 0; r < rows; r++) {
            __m512bh weight = broadcast_pair(weights + (size_t)r * weight_stride + k);
            UNROLL for (int v = 0; v < vectors; v++)
                sum[r][v] = (lanes)_mm512_dpbf16_ps((__m512)sum[r][v], weight, value[v]);
        }
    }
    UNROLL for (int r = 0; r < rows; r++)
        UNROLL for (int v = 0; v < vectors; v++) {
            float *start = averages + (size_t)r * width + (size_t)v * LANES;
            if (vectors == 1)
                store_part(start, (__m512)sum[r][v], part);
            else
                store(start, sum[r][v]);
        }
}

/// Up to TILE_ROWS rows of `vectors` vectors.
INLINE void value_pairs_rows(size_t rows, const int vectors, size_t part, float *averages, size_t width,
                             const float *weights, size_t weight_stride, const float *values, size_t value_stride,
                             size_t pairs) {
#define BLOCK(n) \
    value_pairs_block(n, vectors, part, averages, width, weights, weight_stride, values, value_stride, pairs)
    WITH_CONSTANT(BLOCK, rows)
#undef BLOCK
}

/// averages[r] += Σ_k weights[r][k] · values[k], over pairs of keys.
static void add_value_pairs(const sattn_attention_tile *tile, float *averages, const float *weights, size_t rows,
                            size_t first, size_t pairs) {
    const size_t width = tile->width;
    const float *values = tile->values + first * tile->value_stride;
#define ROWS(vectors) \
    value_pairs_rows(rows, vectors, width - c < LANES ? width - c : LANES, averages + c, width, weights + first, \
                     tile->score_stride, values + c, tile->value_stride, pairs)
    size_t c = 0;
    for (; c + TILE_VECTORS * LANES <= width; c += TILE_VECTORS * LANES) ROWS(TILE_VECTORS);
    for (; c + 2 * LANES <= width; c += 2 * LANES) ROWS(2);
    for (; c < width; c += LANES) ROWS(1);
#undef ROWS
}

/// As `add_value_pairs` for one query and the keys that it sees; the others of their pairs are not read numerically.
static void add_seen_value_pairs(const sattn_attention_tile *tile, float *averages, const float *weights, size_t begin,
                                 size_t end) {
    for (size_t c = 0; c < tile->width; c += LANES) {
        size_t part = tile->width - c < LANES ? tile->width - c : LANES;
        __m512 sum = load_part(averages + c, part);
        for (size_t k = begin / 2; 2 * k < end; k++) {
            uint32_t seen = (2 * k >= begin ? 0xFFFFu : 0) | (2 * k + 1 < end ? 0xFFFF0000u : 0);
            __m512i values = _mm512_castps_si512(load_part(tile->values + k * tile->value_stride + c, part));
            values = _mm512_and_si512(values, _mm512_set1_epi32((int32_t)seen));
            sum = _mm512_dpbf16_ps(sum, broadcast_pair(weights + k), (__m512bh)values);
        }
        store_part(averages + c, sum, part);
    }
}

/// Whether the values of some pairs of keys are finite numbers.
static bool value_pairs_are_finite(const sattn_attention_tile *tile, size_t first, size_t last) {
    __mmask32 found = 0;
    for (size_t k = first; k < last; k++)
        for (size_t c = 0; c < tile->width; c += LANES) {
            size_t part = tile->width - c < LANES ? tile->width - c : LANES;
            __m512i values = _mm512_castps_si512(load_part(tile->values + k * tile->value_stride + c, part));
            __m512i exponent = _mm512_set1_epi16(0x7F80);
            found |= _mm512_cmpeq_epi16_mask(_mm512_and_si512(values, exponent), exponent);
        }
    return found == 0;
}

static void attend_bfloat16(const sattn_attention_tile *tile) {
    const size_t panel_width = TILE_VECTORS * LANES;
    for (size_t top = 0; top < tile->rows; top += TILE_ROWS) {
        const size_t rows = tile->rows - top < TILE_ROWS ? tile->rows - top : TILE_ROWS;
        const visible_keys visible = visible_to(tile, top, rows);
        if (visible.first >= visible.last) continue;
        const size_t first = visible.first / panel_width * panel_width;
        float *scores = tile->scores, *averages = tile->averages + top * tile->width;
        lanes largest[TILE_ROWS];
        const float *queries[TILE_ROWS];
        for (size_t r = 0; r < TILE_ROWS; r++) {
            largest[r] = broadcast(-__builtin_inff());
            queries[r] = tile->queries + (top + (r < rows ? r : rows - 1)) * tile->query_stride;
        }
        for (size_t key = first; key < visible.last; key += panel_width) {
#define BLOCK(n) \
    score_pairs_block(n, scores + key, tile->score_stride, largest, queries, tile->panels + key * tile->depth, \
                      tile->depth, tile->scale, &visible, key)
            switch ((visible.last - key + LANES - 1) / LANES) {
            case 1: BLOCK(1); break;
            case 2: BLOCK(2); break;
            case 3: BLOCK(3); break;
            default: BLOCK(TILE_VECTORS); break;
            }
#undef BLOCK
        }
        softmax_state state[TILE_ROWS];
        begin_softmax(tile, top, rows, largest, state);
        for (size_t r = 0; r < rows; r++)
            state[r].sum = weigh_pairs(scores + r * tile->score_stride, first / LANES,
                                       (visible.last + LANES - 1) / LANES, state[r].shift);
        finish_softmax(tile, top, rows, state);
        // The pairs that any of the queries sees, and those that all see wholly.
        size_t start = visible.first / 2, end = (visible.last + 1) / 2;
        size_t all_start = (visible.all_first + 1) / 2, all_end = visible.all_last / 2;
        if (all_start >= all_end ? value_pairs_are_finite(tile, start, end)
                                 : value_pairs_are_finite(tile, start, all_start)
                                       && value_pairs_are_finite(tile, all_end, end)) {
            add_value_pairs(tile, averages, scores, rows, start, end - start);
            continue;
        }
        for (size_t r = 0; r < rows; r++)
            if (visible.begin[r] < visible.end[r])
                add_seen_value_pairs(tile, averages + r * tile->width, scores + r * tile->score_stride,
                                     visible.begin[r], visible.end[r]);
    }
}

static void pair_values(uint32_t *out, const uint16_t *x, size_t x_stride, size_t rows, size_t columns) {
    for (size_t r = 0; r < rows; r += 2, out += columns) {
        const uint16_t *upper = x + r * x_stride, *lower = r + 1 < rows ? upper + x_stride : NULL;
        for (size_t c = 0; c < columns; c++) out[c] = upper[c] | (lower == NULL ? 0 : (uint32_t)lower[c] << 16);
    }
}

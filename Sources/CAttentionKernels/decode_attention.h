// Attention of a few queries to keys and values as a cache stores them: float32, float16 or bfloat16, converted in
// registers. Part of `vector.h`.
//
// What a cache holds is read once from memory, which is what the time goes to. So a block of keys or values meets all
// rows while it is in registers or in the first-level cache.

/// Rows that share what is loaded; keys whose sums are kept in registers with them.
#define SHARED_ROWS 3
#define FEW_KEYS (LANES == 16 ? 8 : 4)
/// Bytes between what is read and what is fetched: the processor's own prefetching ends at every page.
#define FEW_AHEAD 8192
/// Vectors of a value whose sums are kept in registers, and keys that stay in the first-level cache.
#define FEW_VECTORS 4
#define FEW_KEY_BLOCK 32

/// Fetches what lies FEW_AHEAD behind `p`, to the second-level cache: read it or not, an address does no harm.
INLINE void prefetch_ahead(const uint8_t *p, size_t count) {
    for (size_t i = 0; i < count; i += 64)
        __builtin_prefetch((const void *)((uintptr_t)p + FEW_AHEAD + i), 0, 2);
}

/// The first `count` of the next LANES elements as floats; the others are 0.
INLINE lanes load_stored(const sattn_weight_type type, const uint8_t *p, size_t count) {
    if (type == SATTN_FLOAT32) {
        if (count < LANES) return load_part((const float *)(const void *)p, count);
        lanes x;
        memcpy(&x, p, sizeof x);
        return x;
    }
    uint8_t local[2 * LANES] = {0};
    if (count < LANES) {
        memcpy(local, p, 2 * count);
        p = local;
    }
    return type == SATTN_FLOAT16 ? lanes_from_float16(p) : lanes_from_bfloat16(p);
}

/// Adds, of each of FEW_KEYS vectors, all lanes: each by the same additions in the same order.
INLINE void store_sums(float *out, const lanes *x, size_t part) {
#if LANES == 16
    typedef float eight_lanes __attribute__((vector_size(32)));
    lanes pair[4], quad[2];
    UNROLL for (int i = 0; i < 4; i++)
        pair[i] = __builtin_shufflevector(x[2 * i], x[2 * i + 1], 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28,
                                          13, 29)
                  + __builtin_shufflevector(x[2 * i], x[2 * i + 1], 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14,
                                            30, 15, 31);
    UNROLL for (int i = 0; i < 2; i++)
        quad[i] = __builtin_shufflevector(pair[2 * i], pair[2 * i + 1], 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25,
                                          12, 13, 28, 29)
                  + __builtin_shufflevector(pair[2 * i], pair[2 * i + 1], 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27,
                                            14, 15, 30, 31);
    lanes halves = __builtin_shufflevector(quad[0], quad[1], 0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23)
                   + __builtin_shufflevector(quad[0], quad[1], 8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29,
                                             30, 31);
    eight_lanes sums = __builtin_shufflevector(halves, halves, 0, 1, 2, 3, 4, 5, 6, 7)
                       + __builtin_shufflevector(halves, halves, 8, 9, 10, 11, 12, 13, 14, 15);
#else
    four_lanes sums = sums_of_lanes(x);
#endif
    if (part == FEW_KEYS) {
        memcpy(out, &sums, sizeof sums);
        return;
    }
    for (size_t c = 0; c < part; c++) out[c] = sums[c];
}

INLINE void few_dot_block(const sattn_weight_type type, const int rows, float *out, size_t out_stride,
                          const float *a, size_t a_stride, const uint8_t *b, size_t b_bytes, size_t part,
                          size_t depth) {
    const size_t size = type == SATTN_FLOAT32 ? 4 : 2;
    lanes sum[SHARED_ROWS][FEW_KEYS];
    const uint8_t *key[FEW_KEYS];
    UNROLL for (int c = 0; c < FEW_KEYS; c++) {
        // Keys that are not there repeat the first.
        key[c] = (size_t)c < part ? b + (size_t)c * b_bytes : b;
        UNROLL for (int r = 0; r < rows; r++) sum[r][c] = (lanes){0};
    }
    size_t k = 0;
    for (; k + LANES <= depth; k += LANES) {
        lanes left[SHARED_ROWS];
        UNROLL for (int r = 0; r < rows; r++) left[r] = load(a + (size_t)r * a_stride + k);
        UNROLL for (int c = 0; c < FEW_KEYS; c++) {
            lanes right = load_stored(type, key[c] + k * size, LANES);
            UNROLL for (int r = 0; r < rows; r++)
                sum[r][c] = __builtin_elementwise_fma(left[r], right, sum[r][c]);
        }
    }
    if (k < depth)
        UNROLL for (int c = 0; c < FEW_KEYS; c++) {
            lanes right = load_stored(type, key[c] + k * size, depth - k);
            UNROLL for (int r = 0; r < rows; r++)
                sum[r][c] = __builtin_elementwise_fma(load_part(a + (size_t)r * a_stride + k, depth - k), right,
                                                      sum[r][c]);
        }
    UNROLL for (int r = 0; r < rows; r++) store_sums(out + (size_t)r * out_stride, sum[r], part);
}

INLINE void few_dot_of(const sattn_weight_type type, float *out, size_t out_stride, const float *a, size_t a_stride,
                       const uint8_t *b, size_t b_bytes, size_t rows, size_t columns, size_t depth) {
#define BLOCK(n) \
    few_dot_block(type, n, out + r * out_stride + c, out_stride, a + r * a_stride, a_stride, b + c * b_bytes, b_bytes, \
                  part, depth)
    for (size_t c = 0; c < columns; c += FEW_KEYS) {
        size_t part = columns - c < FEW_KEYS ? columns - c : FEW_KEYS;
        prefetch_ahead(b + c * b_bytes, FEW_KEYS * b_bytes);
        size_t r = 0;
        for (; r + 3 <= rows; r += 3) BLOCK(3);
        if (rows - r == 1) BLOCK(1);
        if (rows - r == 2) BLOCK(2);
    }
#undef BLOCK
}

static void dot_stored(float *out, size_t out_stride, const float *a, size_t a_stride, const void *b, size_t b_stride,
                       sattn_weight_type type, size_t rows, size_t columns, size_t depth) {
#define DOT(t, size) few_dot_of(t, out, out_stride, a, a_stride, b, size *b_stride, rows, columns, depth)
    switch (type) {
    case SATTN_FLOAT16: DOT(SATTN_FLOAT16, 2); break;
    case SATTN_BFLOAT16: DOT(SATTN_BFLOAT16, 2); break;
    default: DOT(SATTN_FLOAT32, 4); break;
    }
#undef DOT
}

INLINE void few_sum_block(const sattn_weight_type type, const int rows, const int vectors, float *out,
                          size_t out_stride, const float *a, size_t a_stride, const uint8_t *b, size_t b_bytes,
                          size_t part, size_t depth) {
    const size_t size = type == SATTN_FLOAT32 ? 4 : 2;
    lanes sum[SHARED_ROWS][FEW_VECTORS];
    // The last vector may lack lanes.
    UNROLL for (int r = 0; r < rows; r++)
        UNROLL for (int v = 0; v < vectors; v++)
            sum[r][v] = load_part(out + (size_t)r * out_stride + (size_t)v * LANES, v + 1 < vectors ? LANES : part);
    for (size_t k = 0; k < depth; k++, b += b_bytes) {
        lanes weight[SHARED_ROWS];
        UNROLL for (int r = 0; r < rows; r++) weight[r] = broadcast(a[(size_t)r * a_stride + k]);
        prefetch_ahead(b, (size_t)vectors * LANES * size);
        UNROLL for (int v = 0; v < vectors; v++) {
            lanes value = load_stored(type, b + (size_t)v * LANES * size, v + 1 < vectors ? LANES : part);
            UNROLL for (int r = 0; r < rows; r++)
                sum[r][v] = __builtin_elementwise_fma(weight[r], value, sum[r][v]);
        }
    }
    UNROLL for (int r = 0; r < rows; r++)
        UNROLL for (int v = 0; v < vectors; v++)
            store_part(out + (size_t)r * out_stride + (size_t)v * LANES, sum[r][v], v + 1 < vectors ? LANES : part);
}

INLINE void few_sum_of(const sattn_weight_type type, float *out, size_t out_stride, const float *a, size_t a_stride,
                       const uint8_t *b, size_t b_bytes, size_t rows, size_t columns, size_t depth) {
    const size_t size = type == SATTN_FLOAT32 ? 4 : 2;
#define BLOCK(n, vectors, part) \
    few_sum_block(type, n, vectors, out + r * out_stride + c, out_stride, a + r * a_stride + k, a_stride, \
                  b + k * b_bytes + c * size, b_bytes, part, count)
#define ROWS(vectors, part) \
    do { \
        size_t r = 0; \
        for (; r + 3 <= rows; r += 3) BLOCK(3, vectors, part); \
        if (rows - r == 1) BLOCK(1, vectors, part); \
        if (rows - r == 2) BLOCK(2, vectors, part); \
    } while (0)
    for (size_t k = 0; k < depth; k += FEW_KEY_BLOCK) {
        size_t count = depth - k < FEW_KEY_BLOCK ? depth - k : FEW_KEY_BLOCK;
        size_t c = 0;
        for (; c + FEW_VECTORS * LANES <= columns; c += FEW_VECTORS * LANES) ROWS(FEW_VECTORS, LANES);
        for (; c + LANES <= columns; c += LANES) ROWS(1, LANES);
        if (c < columns) ROWS(1, columns - c);
    }
#undef ROWS
#undef BLOCK
}

static void product_add_stored(float *out, size_t out_stride, const float *a, size_t a_stride, const void *b,
                               size_t b_stride, sattn_weight_type type, size_t rows, size_t columns, size_t depth) {
#define ADD(t, size) few_sum_of(t, out, out_stride, a, a_stride, b, size *b_stride, rows, columns, depth)
    switch (type) {
    case SATTN_FLOAT16: ADD(SATTN_FLOAT16, 2); break;
    case SATTN_BFLOAT16: ADD(SATTN_BFLOAT16, 2); break;
    default: ADD(SATTN_FLOAT32, 4); break;
    }
#undef ADD
}

#undef SHARED_ROWS
#undef FEW_KEYS
#undef FEW_AHEAD
#undef FEW_VECTORS
#undef FEW_KEY_BLOCK

// The loops of `quantized_product`, written once: `quantized_avx2.c` and `quantized_vnni.c` include it after defining
//   QUANTIZED_ROWS, QUANTIZED_PANELS  the block of `out` that is computed at once,
//   quantized_block                   which computes one,
//   QUANTIZED_PRODUCT                 the function's name.

/// The bytes of a panel's block before its numbers: the scales of 16 rows, and their minima if there are any.
INLINE size_t header_byte_count(sattn_weight_type type) {
    return type == SATTN_Q4_1 ? 64 : 32;
}

INLINE size_t block_byte_count(sattn_weight_type type) {
    return header_byte_count(type) + (type == SATTN_Q8_0 ? 512 : 256);
}

/// What multiplies a block's scale to make its minimum, where no minimum is stored.
INLINE float least_number(sattn_weight_type type) {
    return type == SATTN_Q4_0 ? -8 : -128;
}

static void quantized_block(sattn_weight_type type, const int rows, const int panels, float *out, size_t out_stride,
                            size_t columns, const int8_t *quants, const float *scales, const float *sums,
                            const uint8_t *weights, size_t panel_stride, size_t depth);

INLINE void quantized_rows(sattn_weight_type type, const int panels, float *out, size_t out_stride, size_t columns,
                           const int8_t *quants, const float *scales, const float *sums, const uint8_t *weights,
                           size_t panel_stride, size_t rows, size_t depth) {
#define BLOCK(n) \
    quantized_block(type, n, panels, out + r * out_stride, out_stride, columns, quants + r * depth, \
                    scales + r * (depth / SATTN_ACTIVATION_BLOCK), sums + r * (depth / SATTN_ACTIVATION_BLOCK), \
                    weights, panel_stride, depth)
    size_t r = 0;
    for (; r + QUANTIZED_ROWS <= rows; r += QUANTIZED_ROWS) BLOCK(QUANTIZED_ROWS);
    switch (rows - r) {
    case 1: BLOCK(1); break;
    case 2: BLOCK(2); break;
    case 3: BLOCK(3); break;
    }
#undef BLOCK
}

INLINE void quantized_columns(sattn_weight_type type, float *out, size_t out_stride, const int8_t *quants,
                              const float *scales, const float *sums, const uint8_t *weights, size_t rows,
                              size_t columns, size_t depth) {
    const size_t panel_stride = depth / 32 * block_byte_count(type);
    size_t c = 0;
#define ROWS(panels) \
    quantized_rows(type, panels, out + c, out_stride, columns - c, quants, scales, sums, \
                   weights + c / 16 * panel_stride, panel_stride, rows, depth)
    // One row reads the weights as fast as the memory gives them, in one stream.
    if (rows > 1)
        for (; c + 16 * (QUANTIZED_PANELS - 1) < columns; c += 16 * QUANTIZED_PANELS) ROWS(QUANTIZED_PANELS);
    for (; c < columns; c += 16) ROWS(1);
#undef ROWS
}

void QUANTIZED_PRODUCT(float *out, size_t out_stride, const int8_t *quants, const float *scales, const float *sums,
                       const void *weights, sattn_weight_type type, size_t rows, size_t columns, size_t depth) {
#define COLUMNS(type) \
    case type: \
        quantized_columns(type, out, out_stride, quants, scales, sums, weights, rows, columns, depth); \
        break
    switch (type) {
        COLUMNS(SATTN_Q8_0);
        COLUMNS(SATTN_Q4_0);
        COLUMNS(SATTN_Q4_1);
    default: break;
    }
#undef COLUMNS
}

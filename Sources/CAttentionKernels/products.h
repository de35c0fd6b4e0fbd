// Products with matrices whose rows lie along the depth, as a layer's weights do, stored as float32, float16 or
// bfloat16; and products of bfloat16 with bfloat16. Part of `vector.h`.
//
// Such a matrix is turned in registers, in blocks of LANES rows by LANES words of 32 bits: a word is a float32, or
// two halves that are told apart afterwards. So halves need half the exchanges.

// MARK: - Words

/// How many numbers a word holds.
INLINE size_t word_length(sattn_weight_type type) {
    return type == SATTN_FLOAT32 ? 1 : 2;
}

/// The first number of each word.
INLINE lanes first_numbers(sattn_weight_type type, lanes words) {
    if (type == SATTN_FLOAT32) return words;
    if (type == SATTN_BFLOAT16) return (lanes)((uint_lanes)words << 16);
    uint16_lanes halves = __builtin_convertvector((uint_lanes)words, uint16_lanes);
    return __builtin_convertvector((half_lanes)halves, lanes);
}

/// The second number of each word of halves.
INLINE lanes second_numbers(sattn_weight_type type, lanes words) {
    if (type == SATTN_BFLOAT16) return (lanes)((uint_lanes)words & 0xFFFF0000);
    uint16_lanes halves = __builtin_convertvector((uint_lanes)words >> 16, uint16_lanes);
    return __builtin_convertvector((half_lanes)halves, lanes);
}

/// Loads a block of `height` rows that are `stride` bytes apart, of `width` bytes each, both at most a vector's, and
/// turns it: word i of every row is words[i]. What is missing is 0.
INLINE void load_turned(lanes words[LANES], const uint8_t *rows, size_t stride, size_t height, size_t width) {
    if (height >= LANES && width >= 4 * LANES) {
        UNROLL for (size_t i = 0; i < LANES; i++) memcpy(&words[i], rows + i * stride, 4 * LANES);
    } else {
        UNROLL for (size_t i = 0; i < LANES; i++) {
            float local[LANES] = {0};
            if (i < height) memcpy(local, rows + i * stride, width < 4 * LANES ? width : 4 * LANES);
            words[i] = load(local);
        }
    }
    transpose_lanes(words);
}

// MARK: - Transposition with conversion

INLINE void transpose_as(const sattn_weight_type type, float *out, size_t out_stride, const uint8_t *x,
                         size_t x_stride, size_t rows, size_t columns) {
    const size_t length = word_length(type), size = 4 / length;
    for (size_t r = 0; r < rows; r += LANES)
        for (size_t c = 0; c < columns; c += length * LANES) {
            size_t height = rows - r < LANES ? rows - r : LANES, width = columns - c;
            lanes words[LANES];
            load_turned(words, x + (r * x_stride + c) * size, x_stride * size, height, width * size);
            float *to = out + c * out_stride + r;
            UNROLL for (size_t i = 0; i < LANES; i++) {
                if (length * i < width)
                    store_part(to + length * i * out_stride, first_numbers(type, words[i]), height);
                if (length == 2 && 2 * i + 1 < width)
                    store_part(to + (2 * i + 1) * out_stride, second_numbers(type, words[i]), height);
            }
        }
}

static void transpose_stored(float *out, size_t out_stride, const void *x, sattn_weight_type type,
                             size_t x_stride, size_t rows, size_t columns) {
    switch (type) {
    case SATTN_FLOAT16: transpose_as(SATTN_FLOAT16, out, out_stride, x, x_stride, rows, columns); break;
    case SATTN_BFLOAT16: transpose_as(SATTN_BFLOAT16, out, out_stride, x, x_stride, rows, columns); break;
    default: transpose_as(SATTN_FLOAT32, out, out_stride, x, x_stride, rows, columns); break;
    }
}

// MARK: - Few rows

/// The most rows of `a` that a block of `b`, once turned, is multiplied by: their sums stay in registers.
enum { FEW_ROWS = LANES == 16 ? 8 : 4 };

/// `block_rows` rows, a constant, times `width` numbers of up to LANES rows of `b`, in words.
INLINE void add_turned(const sattn_weight_type type, const int block_rows, lanes sum[FEW_ROWS], const float *a,
                       size_t a_stride, const lanes words[LANES], size_t width) {
    const size_t length = word_length(type);
    UNROLL for (size_t i = 0; i < LANES; i++) {
        if (length * i < width) {
            lanes numbers = first_numbers(type, words[i]);
            UNROLL for (int r = 0; r < block_rows; r++)
                sum[r] = __builtin_elementwise_fma(broadcast(a[(size_t)r * a_stride + length * i]), numbers, sum[r]);
        }
        if (length == 2 && 2 * i + 1 < width) {
            lanes numbers = second_numbers(type, words[i]);
            UNROLL for (int r = 0; r < block_rows; r++)
                sum[r] = __builtin_elementwise_fma(broadcast(a[(size_t)r * a_stride + 2 * i + 1]), numbers, sum[r]);
        }
    }
}

/// `block_rows` rows, a constant, times up to LANES rows of `b`.
INLINE void transposed_block(const sattn_weight_type type, const int block_rows, float *out, size_t out_stride,
                             const float *start, size_t start_stride, const float *a, size_t a_stride,
                             const uint8_t *b, size_t b_stride, size_t columns, size_t depth) {
    const size_t length = word_length(type), size = 4 / length;
    lanes sum[FEW_ROWS], words[LANES];
    UNROLL for (int r = 0; r < block_rows; r++)
        sum[r] = start == NULL ? (lanes){0} : load_part(start + (size_t)r * start_stride, columns);
    // The next rows of `b` are fetched meanwhile, in the order in which they lie.
    const uint8_t *ahead = b + LANES * b_stride * size;
    size_t k = 0;
    for (; columns == LANES && k + length * LANES <= depth; k += length * LANES) {
        UNROLL for (size_t i = 0; i < LANES * LANES / 16; i++) __builtin_prefetch(ahead + 64 * i, 0, 3);
        ahead += 4 * LANES * LANES;
        load_turned(words, b + k * size, b_stride * size, LANES, 4 * LANES);
        add_turned(type, block_rows, sum, a + k, a_stride, words, length * LANES);
    }
    for (; k < depth; k += length * LANES) {
        load_turned(words, b + k * size, b_stride * size, columns, (depth - k) * size);
        add_turned(type, block_rows, sum, a + k, a_stride, words, depth - k);
    }
    UNROLL for (int r = 0; r < block_rows; r++)
        store_part(out + (size_t)r * out_stride, sum[r], columns);
}

INLINE void product_transposed_as(const sattn_weight_type type, float *out, size_t out_stride, const float *start,
                                  size_t start_stride, const float *a, size_t a_stride, const uint8_t *b,
                                  size_t b_stride, size_t rows, size_t columns, size_t depth) {
    const size_t size = 4 / word_length(type);
    for (size_t c = 0; c < columns; c += LANES) {
        size_t part = columns - c < LANES ? columns - c : LANES;
        size_t r = 0;
#define BLOCK(n) \
    for (; rows - r >= n; r += n) \
    transposed_block(type, n, out + r * out_stride + c, out_stride, \
                     start == NULL ? NULL : start + r * start_stride + c, start_stride, a + r * a_stride, \
                     a_stride, b + c * b_stride * size, b_stride, part, depth)
#if LANES == 16
        BLOCK(8);
#endif
        BLOCK(4);
        BLOCK(2);
        BLOCK(1);
#undef BLOCK
    }
}

static void product_transposed(float *out, size_t out_stride, const float *start, size_t start_stride,
                               const float *a, size_t a_stride, const void *b, sattn_weight_type type,
                               size_t b_stride, size_t rows, size_t columns, size_t depth) {
#define PRODUCT_AS(type) \
    product_transposed_as(type, out, out_stride, start, start_stride, a, a_stride, b, b_stride, rows, columns, depth)
    switch (type) {
    case SATTN_FLOAT16: PRODUCT_AS(SATTN_FLOAT16); break;
    case SATTN_BFLOAT16: PRODUCT_AS(SATTN_BFLOAT16); break;
    default: PRODUCT_AS(SATTN_FLOAT32); break;
    }
#undef PRODUCT_AS
}

// MARK: - bfloat16 times bfloat16

/// Adds the products of pairs, as the instruction for it does: those of the second numbers first. Products of bfloat16
/// are exact in float32.
INLINE lanes add_pairs(lanes sum, lanes x, lanes y) {
    sum = __builtin_elementwise_fma(second_numbers(SATTN_BFLOAT16, x), second_numbers(SATTN_BFLOAT16, y), sum);
    return __builtin_elementwise_fma(first_numbers(SATTN_BFLOAT16, x), first_numbers(SATTN_BFLOAT16, y), sum);
}

#define PAIRS(name) name
#define ADD_PAIRS add_pairs
#include "pairs.h"
#undef PAIRS
#undef ADD_PAIRS

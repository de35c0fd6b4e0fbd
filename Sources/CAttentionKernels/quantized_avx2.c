// Products with quantised weights for AVX2, which multiplies 32 pairs of bytes and adds them by twos, in 16 bits.

#include "tables.h"

#if defined(__x86_64__)

#include <immintrin.h>
#include <string.h>

#pragma STDC FP_CONTRACT OFF

#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("clang loop unroll(full)")

// Half a panel at a time. Of 8-bit weights 8 sums, 3 vectors of weights, one of activations: 12 of the 16 registers.
#define QUANTIZED_ROWS 4
#define QUANTIZED_PANELS 1

#define quantized_block quantized_block_avx2
#define QUANTIZED_PRODUCT sattn_quantized_product_avx2
#include "quantized.h"

/// sum + the products of numbers from 0 to 15 with activations. Four of these stay below 2¹⁵: 4 · 2 · 15 · 127.
INLINE __m256i add_products(__m256i sum, __m256i numbers, const int8_t *quants) {
    int32_t four;
    memcpy(&four, quants, sizeof four);
    return _mm256_add_epi16(sum, _mm256_maddubs_epi16(numbers, _mm256_set1_epi32(four)));
}

INLINE __m256 floats_from_halves(const uint8_t *source) {
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)source));
}

/// One block: `rows` rows, a constant, and one panel. The first `columns` columns are written.
INLINE void quantized_block(sattn_weight_type type, const int rows, const int panels, float *out, size_t out_stride,
                            size_t columns, const int8_t *quants, const float *scales, const float *sums,
                            const uint8_t *weights, size_t panel_stride, size_t depth) {
    (void)panels, (void)panel_stride;
    const size_t blocks = depth / 32, stride = depth / SATTN_ACTIVATION_BLOCK;
    const size_t header = header_byte_count(type), block_bytes = block_byte_count(type);
    const __m256i nibble = _mm256_set1_epi8(15), ones = _mm256_set1_epi16(1);
    for (size_t part = 0; part < 2 && 8 * part < columns; part++) {
        __m256 total[QUANTIZED_ROWS];
        UNROLL for (int r = 0; r < rows; r++)
            total[r] = _mm256_setzero_ps();
        for (size_t b = 0; b < blocks; b++) {
            const uint8_t *block = weights + b * block_bytes;
            __m256 d = floats_from_halves(block + 16 * part);
            __m256 m = type == SATTN_Q4_1 ? floats_from_halves(block + 32 + 16 * part)
                                          : _mm256_mul_ps(d, _mm256_set1_ps(least_number(type)));
            UNROLL for (int r = 0; r < rows; r++) {
                const float *halves = sums + (size_t)r * stride + 2 * b;
                total[r] = _mm256_fmadd_ps(m, _mm256_set1_ps(halves[0] + halves[1]), total[r]);
            }
            UNROLL for (size_t half = 0; half < 2; half++) {
                // A number of 8 bits is taken as two of 4, since a product of it would not fit into 16 bits.
                __m256i low[QUANTIZED_ROWS], high[QUANTIZED_ROWS];
                UNROLL for (int r = 0; r < rows; r++)
                    low[r] = high[r] = _mm256_setzero_si256();
                UNROLL for (size_t j = 0; j < 4; j++) {
                    const uint8_t *numbers = block + header + 64 * j + 32 * part;
                    if (type == SATTN_Q8_0) numbers += 256 * half;
                    __m256i loaded = _mm256_loadu_si256((const __m256i *)numbers);
                    __m256i first = _mm256_and_si256(loaded, nibble);
                    __m256i second = _mm256_and_si256(_mm256_srli_epi16(loaded, 4), nibble);
                    UNROLL for (int r = 0; r < rows; r++) {
                        const int8_t *four = quants + (size_t)r * depth + 32 * b + 16 * half + 4 * j;
                        if (type == SATTN_Q8_0) {
                            low[r] = add_products(low[r], first, four);
                            high[r] = add_products(high[r], second, four);
                        } else {
                            low[r] = add_products(low[r], half == 0 ? first : second, four);
                        }
                    }
                }
                UNROLL for (int r = 0; r < rows; r++) {
                    __m256i sum = _mm256_madd_epi16(low[r], ones);
                    if (type == SATTN_Q8_0)
                        sum = _mm256_add_epi32(sum, _mm256_slli_epi32(_mm256_madd_epi16(high[r], ones), 4));
                    __m256 scale = _mm256_set1_ps(scales[(size_t)r * stride + 2 * b + half]);
                    total[r] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), _mm256_mul_ps(d, scale), total[r]);
                }
            }
        }
        UNROLL for (int r = 0; r < rows; r++) {
            size_t left = columns - 8 * part;
            memcpy(out + (size_t)r * out_stride + 8 * part, &total[r], (left < 8 ? left : 8) * sizeof(float));
        }
    }
}

#pragma clang attribute pop

#endif

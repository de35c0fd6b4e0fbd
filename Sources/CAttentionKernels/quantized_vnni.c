// Products with quantised weights for AVX-512 VNNI, which multiplies 64 pairs of bytes and adds them by fours.

#include "tables.h"

#if defined(__x86_64__)

#include <immintrin.h>
#include <string.h>

#pragma STDC FP_CONTRACT OFF

#pragma clang attribute push( \
    __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,f16c,fma,avx2"))), apply_to = function)

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("clang loop unroll(full)")

// 16 sums of integers and 8 of floats, 4 vectors of weights and one of activations: 29 of the 32 registers.
#define QUANTIZED_ROWS 4
#define QUANTIZED_PANELS 2
/// How far ahead of a single row the weights are fetched: two pages, since the processor's own prefetcher stops at
/// the end of one.
#define AHEAD 8192

#define quantized_block quantized_block_vnni
#define QUANTIZED_PRODUCT sattn_quantized_product_vnni
#include "quantized.h"

INLINE __m512i four_activations(const int8_t *quants) {
    int32_t four;
    memcpy(&four, quants, sizeof four);
    return _mm512_set1_epi32(four);
}

INLINE __m512 floats_from_halves(const uint8_t *source) {
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)source));
}

/// One block: `rows` rows and `panels` panels, both constants. The first `columns` columns are written.
INLINE void quantized_block(sattn_weight_type type, const int rows, const int panels, float *out, size_t out_stride,
                            size_t columns, const int8_t *quants, const float *scales, const float *sums,
                            const uint8_t *weights, size_t panel_stride, size_t depth) {
    const size_t blocks = depth / 32, stride = depth / SATTN_ACTIVATION_BLOCK;
    const size_t header = header_byte_count(type), block_bytes = block_byte_count(type);
    const __m512i nibble = _mm512_set1_epi8(15);
    __m512 total[QUANTIZED_ROWS][QUANTIZED_PANELS];
    UNROLL for (int r = 0; r < rows; r++)
        UNROLL for (int p = 0; p < panels; p++)
            total[r][p] = _mm512_setzero_ps();
    for (size_t b = 0; b < blocks; b++) {
        const uint8_t *block = weights + b * block_bytes;
        if (rows == 1)
            UNROLL for (size_t i = 0; i < block_bytes; i += 64)
                _mm_prefetch((const char *)block + AHEAD + i, _MM_HINT_T0);
        __m512 d[QUANTIZED_PANELS], m[QUANTIZED_PANELS];
        UNROLL for (int p = 0; p < panels; p++) {
            const uint8_t *start = block + (size_t)p * panel_stride;
            d[p] = floats_from_halves(start);
            m[p] = type == SATTN_Q4_1 ? floats_from_halves(start + 32)
                                      : _mm512_mul_ps(d[p], _mm512_set1_ps(least_number(type)));
        }
        UNROLL for (int r = 0; r < rows; r++) {
            const float *halves = sums + (size_t)r * stride + 2 * b;
            __m512 added = _mm512_set1_ps(halves[0] + halves[1]);
            UNROLL for (int p = 0; p < panels; p++)
                total[r][p] = _mm512_fmadd_ps(m[p], added, total[r][p]);
        }
        // Of either half.
        __m512i sum[2][QUANTIZED_ROWS][QUANTIZED_PANELS];
        UNROLL for (int r = 0; r < rows; r++)
            UNROLL for (int p = 0; p < panels; p++)
                sum[0][r][p] = sum[1][r][p] = _mm512_setzero_si512();
        UNROLL for (size_t j = 0; j < 4; j++) {
            // Four numbers of each row's first half, and four of its second.
            __m512i four[2][QUANTIZED_PANELS];
            UNROLL for (int p = 0; p < panels; p++) {
                const uint8_t *numbers = block + (size_t)p * panel_stride + header + 64 * j;
                __m512i loaded = _mm512_loadu_si512(numbers);
                if (type == SATTN_Q8_0) {
                    four[0][p] = loaded;
                    four[1][p] = _mm512_loadu_si512(numbers + 256);
                } else {
                    four[0][p] = _mm512_and_si512(loaded, nibble);
                    four[1][p] = _mm512_and_si512(_mm512_srli_epi16(loaded, 4), nibble);
                }
            }
            UNROLL for (size_t h = 0; h < 2; h++)
                UNROLL for (int r = 0; r < rows; r++) {
                    __m512i a = four_activations(quants + (size_t)r * depth + 32 * b + 16 * h + 4 * j);
                    UNROLL for (int p = 0; p < panels; p++)
                        sum[h][r][p] = _mm512_dpbusd_epi32(sum[h][r][p], four[h][p], a);
                }
        }
        UNROLL for (int r = 0; r < rows; r++) {
            const float *halves = scales + (size_t)r * stride + 2 * b;
            UNROLL for (int p = 0; p < panels; p++) {
                __m512 first = _mm512_mul_ps(_mm512_cvtepi32_ps(sum[0][r][p]), _mm512_set1_ps(halves[0]));
                __m512 both = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum[1][r][p]), _mm512_set1_ps(halves[1]), first);
                total[r][p] = _mm512_fmadd_ps(both, d[p], total[r][p]);
            }
        }
    }
    UNROLL for (int p = 0; p < panels; p++) {
        size_t left = columns - 16 * (size_t)p;
        __mmask16 mask = left < 16 ? (__mmask16)(0xFFFFu >> (16 - left)) : (__mmask16)0xFFFF;
        UNROLL for (int r = 0; r < rows; r++)
            _mm512_mask_storeu_ps(out + (size_t)r * out_stride + 16 * p, mask, total[r][p]);
    }
}

#pragma clang attribute pop

#endif

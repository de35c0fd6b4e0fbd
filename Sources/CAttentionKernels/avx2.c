// The kernels for AVX2 with fused multiply-add, 8 floats at a time.

#include "tables.h"

#if defined(__x86_64__)

#include <immintrin.h>
#include <string.h>

#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)

#define LANES 8
// 12 sums, 2 vectors of b and one of a: 15 of the 16 registers.
#define TILE_ROWS 6
#define TILE_VECTORS 2
#define DOT_ROWS 3

#define LOAD_PART
static inline __attribute__((always_inline)) __m256 load_part(const float *p, size_t count) {
    // Masked stores are slow on some processors, and rare: they are left to the plain way.
    __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_maskload_ps(p, _mm256_cmpgt_epi32(_mm256_set1_epi32((int)count), lane));
}

#define QUANTIZED_PRODUCT sattn_quantized_product_avx2

#define TABLE sattn_table_avx2
#define TABLE_NAME "avx2"
#include "vector.h"

#pragma clang attribute pop

#endif

// The kernels for AVX-512, 16 floats at a time.

#include "tables.h"

#if defined(__x86_64__)

#include <immintrin.h>
#include <string.h>

#pragma clang attribute push( \
    __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,f16c,fma,avx2"))), apply_to = function)

#define LANES 16
// 24 sums, 4 vectors of b and one of a: 29 of the 32 registers.
#define TILE_ROWS 6
#define TILE_VECTORS 4
#define DOT_ROWS 4

#define LOAD_PART
static inline __attribute__((always_inline)) __m512 load_part(const float *p, size_t count) {
    return _mm512_maskz_loadu_ps((__mmask16)(0xFFFFu >> (16 - count)), p);
}

#define STORE_PART
static inline __attribute__((always_inline)) void store_part(float *p, __m512 x, size_t count) {
    _mm512_mask_storeu_ps(p, (__mmask16)(0xFFFFu >> (16 - count)), x);
}

// Replaced by `dispatch.c` where the processor has VNNI.
#define QUANTIZED_PRODUCT sattn_quantized_product_avx2

#define TABLE sattn_table_avx512
#define TABLE_NAME "avx512"
#include "vector.h"

#pragma clang attribute pop

#endif

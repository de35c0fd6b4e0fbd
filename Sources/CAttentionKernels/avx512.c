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

#define EXP_BELOW
/// `exp_below` of `flash.h`, with x log₂e split into sixteenths and a rest r, |r| ≤ 1/32: a table of 2^(j/16), and the
/// minimax polynomial of degree 3 for 2ʳ, whose error is 2e-9.
static inline __attribute__((always_inline)) __m512 exp_below(__m512 x) {
    const __m512 shifter = _mm512_set1_ps(0x1.8p19f), log2e = _mm512_set1_ps(0x1.715476p0f);
    const __m512 table = _mm512_setr_ps(
        0x1p0f, 0x1.0b5586p0f, 0x1.172b84p0f, 0x1.2387a6p0f, 0x1.306fe0p0f, 0x1.3dea64p0f, 0x1.4bfdaep0f,
        0x1.5ab07ep0f, 0x1.6a09e6p0f, 0x1.7a1148p0f, 0x1.8ace54p0f, 0x1.9c4918p0f, 0x1.ae89fap0f, 0x1.c199bep0f,
        0x1.d5818ep0f, 0x1.ea4afap0f);
    // The sixteenths stand in the low bits; the table's index is the last four, and scalef takes the floor.
    __m512 shifted = _mm512_fmadd_ps(x, log2e, shifter);
    __m512 n = _mm512_sub_ps(shifted, shifter);
    __m512 r = _mm512_fmsub_ps(x, log2e, n);
    __m512 power = _mm512_permutexvar_ps(_mm512_castps_si512(shifted), table);
    __m512 p = _mm512_fmadd_ps(_mm512_set1_ps(0x1.c6ac6ap-5f), r, _mm512_set1_ps(0x1.ebfff4p-3f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0x1.62e430p-1f));
    p = _mm512_fmadd_ps(p, _mm512_mul_ps(r, power), power);
    __mmask16 is_normal = _mm512_cmp_ps_mask(x, _mm512_set1_ps(-0x1.5d589ep6f), _CMP_NLT_UQ);
    return _mm512_maskz_scalef_ps(is_normal, p, n);
}

#define SIGN
/// -1, 0 or 1; 0 for NaN.
static inline __attribute__((always_inline)) __m512 sign(__m512 x) {
    return _mm512_fixupimm_ps(_mm512_setzero_ps(), x, _mm512_set1_epi32((int)0xA9A9A888), 0);
}

// Replaced by `dispatch.c` where the processor has VNNI.
#define QUANTIZED_PRODUCT sattn_quantized_product_avx2

#define TABLE sattn_table_avx512
#define TABLE_NAME "avx512"
#include "vector.h"

#pragma clang attribute pop

// For processors with AVX-512 BF16, which the table above does without.

#pragma clang attribute push( \
    __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,f16c,fma,avx2"))), apply_to = function)

#define PAIRS(name) name##_by_instruction
#define ADD_PAIRS(sum, x, y) (lanes) _mm512_dpbf16_ps((__m512)(sum), (__m512bh)(x), (__m512bh)(y))
#include "pairs.h"
#undef PAIRS

#include "flash_bfloat16.h"

#pragma clang attribute pop

// For processors with AMX as well.

#pragma clang attribute push( \
    __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,amx-tile,amx-bf16,f16c,fma,avx2"))), \
    apply_to = function)

#include "amx.h"

#pragma clang attribute pop

void sattn_use_avx512_bf16(sattn_kernels *table) {
    table->product_packed_bfloat16 = product_packed_bfloat16_by_instruction;
    table->product_transposed_bfloat16 = product_transposed_bfloat16_by_instruction;
    table->attend_bfloat16 = attend_bfloat16;
    table->pair_values = pair_values;
}

void sattn_use_amx(sattn_kernels *table) {
    table->name = "amx";
    table->bfloat16_rows = 2 * TILE;
    table->product_packed_bfloat16 = product_packed_bfloat16_by_tiles;
    table->product_transposed_bfloat16 = product_transposed_bfloat16_by_tiles;
    table->attend_bfloat16 = attend_bfloat16_by_tiles;
}

#endif

// What the processor can do at most, to be timed: chains of multiply-adds that no memory holds up.
//
// Twelve chains of the widest vectors there are: more than latency times units on any processor so far, and few
// enough for the registers of each.

#include "CAttentionKernels.h"

enum { CHAINS = 12 };

#define UNROLL _Pragma("clang loop unroll(full)")

/// A function `name` that runs `rounds` times one `step` of each chain and returns the operations done. The
/// chains begin differently and their ends are used, so that no compiler leaves any out.
#define CHAIN(name, attributes, vector, start, step, operations) \
    attributes static size_t name(size_t rounds) { \
        vector sum[CHAINS]; \
        UNROLL for (int i = 0; i < CHAINS; i++) sum[i] = start(i); \
        for (size_t round = 0; round < rounds; round++) \
            UNROLL for (int i = 0; i < CHAINS; i++) sum[i] = step(sum[i]); \
        volatile vector end; \
        UNROLL for (int i = 0; i < CHAINS; i++) end = sum[i]; \
        (void)end; \
        return rounds * CHAINS * (operations); \
    }

/// A function `name` that adds up all 8-byte words, by vectors of `width` bytes: eight sums, so that adding keeps
/// up with reading.
#define READ(name, attributes, width) \
    attributes static uint64_t name(const void *source, size_t byte_count) { \
        typedef uint64_t words __attribute__((vector_size(width), aligned(1))); \
        words sum[8] = {{0}}; \
        const char *bytes = source; \
        for (size_t i = 0; i + sizeof sum <= byte_count; i += sizeof sum) \
            UNROLL for (size_t j = 0; j < 8; j++) sum[j] += *(const words *)(bytes + i + j * (width)); \
        uint64_t total = 0; \
        for (size_t j = 0; j < 8; j++) \
            for (size_t k = 0; k < (width) / 8; k++) total += sum[j][k]; \
        return total; \
    }

READ(read_16, , 16)

#if defined(__x86_64__)

#include <immintrin.h>

#define TARGET(features) __attribute__((target(features)))
#define START_512(i) _mm512_set1_ps((float)(i))
#define STEP_512(x) _mm512_fmadd_ps(x, _mm512_set1_ps(0.999f), _mm512_set1_ps(1e-4f))
#define START_256(i) _mm256_set1_ps((float)(i))
#define STEP_256(x) _mm256_fmadd_ps(x, _mm256_set1_ps(0.999f), _mm256_set1_ps(1e-4f))
#define HALVES ((__m512bh)_mm512_set1_epi16(0x3F00))
#define STEP_BFLOAT16(x) _mm512_dpbf16_ps(x, HALVES, HALVES)
#define START_INT8(i) _mm512_set1_epi32(i)
#define STEP_INT8(x) _mm512_dpbusd_epi32(x, _mm512_set1_epi8(1), _mm512_set1_epi8(1))

CHAIN(float32_avx512, TARGET("avx512f"), __m512, START_512, STEP_512, 32)
CHAIN(float32_avx2, TARGET("avx2,fma"), __m256, START_256, STEP_256, 16)
CHAIN(bfloat16_avx512, TARGET("avx512f,avx512bf16"), __m512, START_512, STEP_BFLOAT16, 64)
CHAIN(int8_avx512, TARGET("avx512f,avx512vnni"), __m512i, START_INT8, STEP_INT8, 128)
READ(read_avx512, TARGET("avx512f"), 64)
READ(read_avx2, TARGET("avx2"), 32)

/// Chains of products of tiles: four, which is as many as the processor works on at a time.
TARGET("amx-tile,amx-bf16") static size_t bfloat16_amx(size_t rounds) {
    // As many rows of as many bytes as there are, of all tiles.
    struct {
        uint8_t palette, reserved[15];
        uint16_t row_bytes[16];
        uint8_t rows[16];
    } tiles = {.palette = 1};
    for (int i = 0; i < 8; i++) {
        tiles.row_bytes[i] = 64;
        tiles.rows[i] = 16;
    }
    _tile_loadconfig(&tiles);
    for (size_t round = 0; round < rounds; round++) {
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    _tile_release();
    return rounds * 4 * 16 * 16 * 32 * 2;
}

#elif defined(__aarch64__)

typedef float lanes __attribute__((vector_size(16)));
#define START_NEON(i) ((lanes){(float)(i), (float)(i), (float)(i), (float)(i)})
#define STEP_NEON(x) \
    __builtin_elementwise_fma(x, (lanes){0.999f, 0.999f, 0.999f, 0.999f}, (lanes){1e-4f, 1e-4f, 1e-4f, 1e-4f})

CHAIN(float32_neon, , lanes, START_NEON, STEP_NEON, 8)

#endif

size_t sattn_peak_float32(size_t rounds) {
#if defined(__x86_64__)
    if (sattn_kernels_named("avx512") != NULL) return float32_avx512(rounds);
    if (sattn_kernels_named("avx2") != NULL) return float32_avx2(rounds);
#elif defined(__aarch64__)
    return float32_neon(rounds);
#endif
    (void)rounds;
    return 0;
}

size_t sattn_peak_bfloat16(size_t rounds) {
#if defined(__x86_64__)
    if (sattn_kernels_named("amx") != NULL) return bfloat16_amx(rounds);
    if (sattn_has_bfloat16()) return bfloat16_avx512(rounds);
#endif
    (void)rounds;
    return 0;
}

size_t sattn_peak_int8(size_t rounds) {
#if defined(__x86_64__)
    if (sattn_has_int8()) return int8_avx512(rounds);
#endif
    (void)rounds;
    return 0;
}

uint64_t sattn_read(const void *source, size_t byte_count) {
#if defined(__x86_64__)
    if (sattn_kernels_named("avx512") != NULL) return read_avx512(source, byte_count);
    if (sattn_kernels_named("avx2") != NULL) return read_avx2(source, byte_count);
#endif
    return read_16(source, byte_count);
}

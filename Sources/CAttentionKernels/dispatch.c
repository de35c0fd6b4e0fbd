// The only place that asks the processor what it can do.

#if defined(__linux__)
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "tables.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/// The tables this processor can run, fastest first.
static const sattn_kernels *available[5];
static size_t available_count;
static const sattn_kernels *current;
#if defined(__x86_64__)
/// The AVX-512 kernels, with those that need more than the set that all its processors have.
static sattn_kernels avx512_kernels;
/// The same with AMX.
static sattn_kernels amx_kernels;
#endif
/// What processors with AVX-512 may lack.
static bool has_bfloat16, has_int8;
static char refused[64];

#if defined(__x86_64__)
#include <cpuid.h>

/// Whether the processor multiplies tiles of bfloat16, and the system lets this process: a tile's registers are as large as
/// all others together, so Linux saves them only for who asks.
static bool has_amx(void) {
    enum { AMX_BF16 = 1 << 22, AMX_TILE = 1 << 24, REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 };
    unsigned eax, ebx, ecx, edx;
    if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx)) return false;
    if (!(edx & AMX_BF16) || !(edx & AMX_TILE)) return false;
#if defined(__linux__)
    return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
#else
    return false;
#endif
}
#endif

static void choose(void) {
    // `__builtin_cpu_supports` also asks whether the operating system saves the wide registers.
#if defined(__x86_64__)
    __builtin_cpu_init();
    bool avx2 =
        __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
    bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
                  && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
    if (avx512) {
        // What a processor with AVX-512 may lack takes the place of what does without it.
        has_bfloat16 = __builtin_cpu_supports("avx512bf16");
        has_int8 = __builtin_cpu_supports("avx512vnni");
        avx512_kernels = sattn_table_avx512;
        if (has_bfloat16) sattn_use_avx512_bf16(&avx512_kernels);
        if (has_int8) avx512_kernels.quantized_product = sattn_quantized_product_vnni;
        if (has_bfloat16 && has_amx()) {
            amx_kernels = avx512_kernels;
            sattn_use_amx(&amx_kernels);
            available[available_count++] = &amx_kernels;
        }
        available[available_count++] = &avx512_kernels;
    }
    if (avx2) available[available_count++] = &sattn_table_avx2;
#elif defined(__aarch64__)
    available[available_count++] = &sattn_table_neon;
#endif
    available[available_count++] = &sattn_table_scalar;
    current = available[0];

    const char *wish = getenv("ATTENTION_KERNELS");
    if (wish == NULL || *wish == '\0') return;
    for (size_t i = 0; i < available_count; i++)
        if (strcmp(available[i]->name, wish) == 0) {
            current = available[i];
            return;
        }
    snprintf(refused, sizeof refused, "%s", wish);
}

static void choose_once(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, choose);
}

const sattn_kernels *sattn_kernels_current(void) {
    choose_once();
    return current;
}

const char *sattn_kernels_refused(void) {
    choose_once();
    return *refused == '\0' ? NULL : refused;
}

const sattn_kernels *sattn_kernels_named(const char *name) {
    choose_once();
    for (size_t i = 0; i < available_count; i++)
        if (strcmp(available[i]->name, name) == 0) return available[i];
    return NULL;
}

bool sattn_has_bfloat16(void) {
    choose_once();
    return has_bfloat16;
}

bool sattn_has_int8(void) {
    choose_once();
    return has_int8;
}

const sattn_kernels_float64 *sattn_kernels_float64_current(void) {
    return &sattn_table_float64;
}

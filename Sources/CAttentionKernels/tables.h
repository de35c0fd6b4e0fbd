#ifndef TABLES_H
#define TABLES_H

#include "CAttentionKernels.h"

// One table per file; `dispatch.c` chooses among them.

extern const sattn_kernels sattn_table_scalar;
extern const sattn_kernels_float64 sattn_table_float64;

#if defined(__x86_64__)
extern const sattn_kernels sattn_table_avx2;
extern const sattn_kernels sattn_table_avx512;
/// Puts the kernels that need AVX-512 BF16 in their places of a copy of `sattn_table_avx512`.
void sattn_use_avx512_bf16(sattn_kernels *table);
#elif defined(__aarch64__)
extern const sattn_kernels sattn_table_neon;
#endif

#endif

#ifndef TABLES_H
#define TABLES_H

#include "CAttentionKernels.h"

// One table per file; `dispatch.c` chooses among them.

extern const sattn_kernels sattn_table_scalar;
extern const sattn_kernels_float64 sattn_table_float64;

#if defined(__x86_64__)
extern const sattn_kernels sattn_table_avx2;
extern const sattn_kernels sattn_table_avx512;
extern const sattn_bfloat16_kernels sattn_bfloat16_table_avx512;
#elif defined(__aarch64__)
extern const sattn_kernels sattn_table_neon;
#endif

#endif

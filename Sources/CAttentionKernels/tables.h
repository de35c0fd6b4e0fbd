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
/// Puts the kernels that need AMX in their places of such a table.
void sattn_use_amx(sattn_kernels *table);

/// `quantized_product`: for AVX2, which AVX-512 uses as well, and for processors with AVX-512 VNNI.
void sattn_quantized_product_avx2(float *out, size_t out_stride, const int8_t *quants, const float *scales,
                                  const float *sums, const void *weights, sattn_weight_type type, size_t rows,
                                  size_t columns, size_t depth);
void sattn_quantized_product_vnni(float *out, size_t out_stride, const int8_t *quants, const float *scales,
                                  const float *sums, const void *weights, sattn_weight_type type, size_t rows,
                                  size_t columns, size_t depth);
#elif defined(__aarch64__)
extern const sattn_kernels sattn_table_neon;
#endif

#endif

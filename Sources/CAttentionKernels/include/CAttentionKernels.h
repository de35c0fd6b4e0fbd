#ifndef CATTENTIONKERNELS_H
#define CATTENTIONKERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// The innermost loops of the package: one table of functions per instruction set, and the thread pool.
//
// Everything here works on memory that the caller owns, never allocates, starts no thread (but for
// `sattn_parallel`) and cannot fail. Counts may be 0. Pointers need only their element's alignment, and an
// output never overlaps an input unless it says "in place". Strides count elements, not bytes.
//
// Two promises hold for every version:
//   - An output element depends on its own row and column alone: its bits are the same whatever `rows` and
//     `columns` the call has, so that results do not depend on blocking, batch or threads.
//   - NaN and infinity in an input reach the outputs computed from it, and no others.

// MARK: - Kernel tables

/// How the weights of a matrix are stored. The names and layouts of the quantised ones are GGUF's.
typedef enum {
    SATTN_FLOAT32 = 0,
    SATTN_FLOAT16 = 1,
    SATTN_BFLOAT16 = 2,
    /// Blocks of 32: float16 scale d, 32 signed bytes;  w = d·q.
    SATTN_Q8_0 = 3,
    /// Blocks of 32: float16 scale d, 16 bytes of nibbles (low: elements 0-15, high: 16-31);  w = d·(q - 8).
    SATTN_Q4_0 = 4,
    /// Blocks of 32: float16 scale d, float16 minimum m, 16 bytes of nibbles;  w = d·q + m.
    SATTN_Q4_1 = 5,
} sattn_weight_type;

/// The kernels of one instruction set, in float32.
///
/// A "tile" function computes, for r in 0..<rows and c in 0..<columns, over k in 0..<depth in ascending order:
///
///     out[r * out_stride + c] = Σ_k op(a[r * a_stride + k], b[k * b_stride + c])
///
/// so `a` has its rows along `depth`, and `b` has `depth` rows of `columns` elements.
typedef struct {
    /// "scalar", "avx2", "avx512" or "neon".
    const char *name;

    /// op(a, b) = a · b
    void (*product)(float *out, size_t out_stride, const float *a, size_t a_stride, const float *b,
                    size_t b_stride, size_t rows, size_t columns, size_t depth);
    /// As `product`, added to what `out` holds.
    void (*product_add)(float *out, size_t out_stride, const float *a, size_t a_stride, const float *b,
                        size_t b_stride, size_t rows, size_t columns, size_t depth);
    /// op(a, b) = (a - b)²
    void (*squared_distance)(float *out, size_t out_stride, const float *a, size_t a_stride, const float *b,
                             size_t b_stride, size_t rows, size_t columns, size_t depth);
    /// op(a, b) = |a - b|
    void (*absolute_distance)(float *out, size_t out_stride, const float *a, size_t a_stride, const float *b,
                              size_t b_stride, size_t rows, size_t columns, size_t depth);
    /// op(a, b) = weights[k] · tanh(a + b)
    void (*additive)(float *out, size_t out_stride, const float *a, size_t a_stride, const float *b,
                     size_t b_stride, size_t rows, size_t columns, size_t depth, const float *weights);

    /// out[r * out_stride + c] = Σ_k a[r * a_stride + k] · b[c * b_stride + k]: both along `depth`.
    void (*dot_rows)(float *out, size_t out_stride, const float *a, size_t a_stride, const float *b,
                     size_t b_stride, size_t rows, size_t columns, size_t depth);

    /// The largest of x[0..<count]; -∞ if there is none. NaN elements are passed over.
    float (*maximum)(const float *x, size_t count);
    /// In place x = exp(x - shift); returns the sum. exp(-∞) is exactly 0; NaN stays NaN.
    float (*exp_sum)(float *x, size_t count, float shift);
    /// In place x = factor · x.
    void (*scale)(float *x, size_t count, float factor);
    /// In place x = cap · tanh(x / cap).
    void (*soft_cap)(float *x, size_t count, float cap);

    /// out = exp(x). `out` may be `x`, here and in the three below.
    void (*exp)(float *out, const float *x, size_t count);
    /// out = tanh(x)
    void (*tanh)(float *out, const float *x, size_t count);
    /// out = x / (1 + exp(-x))
    void (*silu)(float *out, const float *x, size_t count);
    /// out = x/2 · (1 + tanh(√(2/π) (x + 0.044715 x³)))
    void (*gelu_tanh)(float *out, const float *x, size_t count);

    /// out[0..<count] = the float32 values of `count` weights stored as `type`; a multiple of 32 if quantised.
    void (*decode)(float *out, const void *source, sattn_weight_type type, size_t count);
    /// out = x rounded to the nearest float16, ties to even.
    void (*encode_float16)(uint16_t *out, const float *x, size_t count);
    /// out = x rounded to the nearest bfloat16, ties to even.
    void (*encode_bfloat16)(uint16_t *out, const float *x, size_t count);
} sattn_kernels;

/// The same operations in float64, in plain C: for checks and for whoever needs the digits.
typedef struct {
    const char *name;
    void (*product)(double *out, size_t out_stride, const double *a, size_t a_stride, const double *b,
                    size_t b_stride, size_t rows, size_t columns, size_t depth);
    void (*product_add)(double *out, size_t out_stride, const double *a, size_t a_stride, const double *b,
                        size_t b_stride, size_t rows, size_t columns, size_t depth);
    void (*squared_distance)(double *out, size_t out_stride, const double *a, size_t a_stride, const double *b,
                             size_t b_stride, size_t rows, size_t columns, size_t depth);
    void (*absolute_distance)(double *out, size_t out_stride, const double *a, size_t a_stride,
                              const double *b, size_t b_stride, size_t rows, size_t columns, size_t depth);
    void (*additive)(double *out, size_t out_stride, const double *a, size_t a_stride, const double *b,
                     size_t b_stride, size_t rows, size_t columns, size_t depth, const double *weights);
    void (*dot_rows)(double *out, size_t out_stride, const double *a, size_t a_stride, const double *b,
                     size_t b_stride, size_t rows, size_t columns, size_t depth);
    double (*maximum)(const double *x, size_t count);
    double (*exp_sum)(double *x, size_t count, double shift);
    void (*scale)(double *x, size_t count, double factor);
    void (*soft_cap)(double *x, size_t count, double cap);
} sattn_kernels_float64;

/// The kernels in use: the fastest that this processor has, or what ATTENTION_KERNELS names
/// (scalar, avx2, avx512, neon). Chosen once, at the first call; a name that is unknown or that this
/// processor lacks is ignored, and `sattn_kernels_refused` then returns it.
const sattn_kernels *sattn_kernels_current(void);

/// What ATTENTION_KERNELS asked for in vain, or NULL.
const char *sattn_kernels_refused(void);

/// The table called `name`, or NULL where this processor or build lacks it. For tests.
const sattn_kernels *sattn_kernels_named(const char *name);

/// The float64 kernels.
const sattn_kernels_float64 *sattn_kernels_float64_current(void);

// MARK: - Threads

/// Calls body(context, i) once for each i in 0..<count, on the pool's threads and the caller's, and returns
/// when all are done. Indices are claimed in ascending order, each by whoever is free.
///
/// A call from inside a body, or while another caller has the pool, runs on its own thread alone: never a
/// deadlock, never more threads than the pool has.
void sattn_parallel(size_t count, void *context, void (*body)(void *context, size_t index));

/// How many threads `sattn_parallel` uses, the caller's included. At first what the process may use (its
/// affinity and its control group's quota, rounded up), or ATTENTION_THREADS.
size_t sattn_thread_count(void);

/// Sets the number of threads, from 1 to 512 (others are clamped). Waits for a call in progress.
void sattn_set_thread_count(size_t count);

#endif

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
//
// Where versions are listed, slowest first, the figures are ns on one thread of an AMD EPYC (Zen 4), whose
// peak is 118 GFLOP/s in float32, for 8 lanes and 16 alike. There are none for neon, tested under emulation.

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
/// A "tile" function computes, for r in 0..<rows and c in 0..<columns, over k in 0..<depth in ascending
/// order:
///
///     out[r * out_stride + c] = Σ_k op(a[r * a_stride + k], b[k * b_stride + c])
///
/// so `a` has its rows along `depth`, and `b` has `depth` rows of `columns` elements.
typedef struct {
    /// "scalar", "avx2", "avx512" or "neon".
    const char *name;

    /// op(a, b) = a · b
    ///
    /// Versions, with ns for 96 rows, 512 columns, depth 64 (6.3 MFLOP):
    ///   scalar  246,800  one row of sums, in memory
    ///   avx2     58,300  6 rows × 16 columns of sums in registers
    ///   avx512   54,600  6 rows × 64 columns, 98 % of peak
    /// A single row is bound by reading b: 8 vectors of columns at a time took avx2 from 19,400 to 10,900 for
    /// 512 columns, depth 512. Packing b was not tried, for want of anything left to gain.
    void (*product)(float *out, size_t out_stride, const float *a, size_t a_stride, const float *b,
                    size_t b_stride, size_t rows, size_t columns, size_t depth);
    /// As `product`, each sum starting from what `out` holds: `product` over some of the depth and then
    /// `product_add` over the rest give the same bits as `product` over all of it.
    void (*product_add)(float *out, size_t out_stride, const float *a, size_t a_stride, const float *b,
                        size_t b_stride, size_t rows, size_t columns, size_t depth);
    /// op(a, b) = (a - b)²
    void (*squared_distance)(float *out, size_t out_stride, const float *a, size_t a_stride, const float *b,
                             size_t b_stride, size_t rows, size_t columns, size_t depth);
    /// op(a, b) = |a - b|
    void (*absolute_distance)(float *out, size_t out_stride, const float *a, size_t a_stride, const float *b,
                              size_t b_stride, size_t rows, size_t columns, size_t depth);
    /// op(a, b) = weights[k] · tanh(a + b)
    ///
    /// Versions, with ns for 16 rows, 64 columns, depth 64:
    ///   scalar  825,300  the C library's tanh
    ///   avx2     28,500  as `tanh` below, 6 rows × 8 columns
    ///   avx512   17,600
    void (*additive)(float *out, size_t out_stride, const float *a, size_t a_stride, const float *b,
                     size_t b_stride, size_t rows, size_t columns, size_t depth, const float *weights);

    /// out[r * out_stride + c] = Σ_k a[r * a_stride + k] · b[c * b_stride + k]: both along `depth`.
    /// The vector versions add in an order of their own, the same for every element.
    ///
    /// Versions, with ns for 64 rows, 512 columns, depth 64, and depth 512 with 96 rows, 128 columns:
    ///   scalar  1,010,500  4,699,600  one sum after the other
    ///   avx2       47,300    112,200  3 × 4 sums of 8 lanes
    ///   avx512     52,300    113,000  4 × 4 sums of 16 lanes
    /// Lost: 6 × 4 sums in avx512 (63,300). Folding the lanes of two sums in one vector won 11 % at depth 64
    /// (46,700), too little for its lines: where depth is short, `product` with b transposed is faster still.
    void (*dot_rows)(float *out, size_t out_stride, const float *a, size_t a_stride, const float *b,
                     size_t b_stride, size_t rows, size_t columns, size_t depth);

    /// The largest of x[0..<count]; -∞ if there is none. NaN elements are passed over.
    float (*maximum)(const float *x, size_t count);
    /// In place x = exp(x - shift); returns the sum, 0 if there is none. exp(-∞) is exactly 0; NaN stays NaN.
    ///
    /// Versions, with ns for 512 elements:
    ///   scalar  2,860  the C library's exp
    ///   avx2      215  a polynomial of degree 6, see `exp`
    ///   avx512    130
    float (*exp_sum)(float *x, size_t count, float shift);
    /// In place x = factor · x.
    void (*scale)(float *x, size_t count, float factor);
    /// In place x = cap · tanh(x / cap), for a finite cap other than 0; ±∞ becomes ±cap.
    void (*soft_cap)(float *x, size_t count, float cap);

    // Largest errors of the vector versions, in units of the last place: exp 1.0, tanh and silu 2.2,
    // gelu_tanh 1.7 above 0; below, where the error of its exponent counts as well, 2.6 as far as -1 and 15 as
    // far as -3.

    /// out = exp(x): ∞ above 88.72, and 0 where the result would lie below the normal numbers (the scalar
    /// version gives subnormal ones). `out` may be `x`, here and in the three below.
    void (*exp)(float *out, const float *x, size_t count);
    /// out = tanh(x)
    void (*tanh)(float *out, const float *x, size_t count);
    /// out = x / (1 + exp(-x)); 0 for -∞.
    void (*silu)(float *out, const float *x, size_t count);
    /// out = x/2 · (1 + tanh(√(2/π) (x + 0.044715 x³))); 0 for -∞.
    void (*gelu_tanh)(float *out, const float *x, size_t count);

    /// out[0..<count] = the float32 values of `count` weights stored as `type`; `count` is a multiple of 32 if
    /// they are quantised. `source` needs no alignment whatever.
    ///
    /// Versions, with ns for 4,096 weights as float16, bfloat16, Q8_0, Q4_0 and Q4_1:
    ///   scalar  2,140  290  560  620  700
    ///   avx2      190  290  380  260  330
    ///   avx512    140  140  390  220  300
    void (*decode)(float *out, const void *source, sattn_weight_type type, size_t count);
    /// out = x rounded to the nearest float16, ties to even; ∞ from 65,520 on; NaN is made quiet.
    void (*encode_float16)(uint16_t *out, const float *x, size_t count);
    /// out = x rounded to the nearest bfloat16, ties to even; NaN is made quiet.
    void (*encode_bfloat16)(uint16_t *out, const float *x, size_t count);
} sattn_kernels;

/// The same operations in float64, in plain C: for checks and for whoever needs the digits.
typedef struct {
    const char *name;
    void (*product)(double *out, size_t out_stride, const double *a, size_t a_stride, const double *b,
                    size_t b_stride, size_t rows, size_t columns, size_t depth);
    void (*product_add)(double *out, size_t out_stride, const double *a, size_t a_stride, const double *b,
                        size_t b_stride, size_t rows, size_t columns, size_t depth);
    void (*squared_distance)(double *out, size_t out_stride, const double *a, size_t a_stride,
                             const double *b, size_t b_stride, size_t rows, size_t columns, size_t depth);
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
/// deadlock, never more threads than the pool has. (A call with one index takes no pool, so that a call from
/// inside its body may.)
///
/// The first call that needs them starts the threads. They spin for 30 µs after each call and then sleep: a
/// call that finds them awake costs about 0.1 µs, one that wakes a thread 6 µs. After a fork without exec the
/// child must not call this.
void sattn_parallel(size_t count, void *context, void (*body)(void *context, size_t index));

/// How many threads `sattn_parallel` uses, the caller's included. At first what the process may use (its
/// affinity and its control group's quota, rounded up), or ATTENTION_THREADS.
size_t sattn_thread_count(void);

/// Sets the number of threads, from 1 to 512 (others are clamped). Waits for a call in progress, so a body
/// must not call it.
void sattn_set_thread_count(size_t count);

#endif

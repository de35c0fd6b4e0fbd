#ifndef CATTENTIONKERNELS_H
#define CATTENTIONKERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// The innermost loops of the package: one table of functions per instruction set, and the thread pool.
//
// Everything here works on memory that the caller owns, never allocates, starts no thread (but for
// `sattn_parallel` and what calls it) and cannot fail. Counts may be 0. Pointers need only their element's alignment, and an
// output never overlaps an input unless it says "in place". Strides count elements, not bytes.
//
// Two promises hold for every version:
//   - An output element depends on its own row and column alone: its bits are the same whatever `rows` and
//     `columns` the call has, so that results do not depend on blocking, batch or threads.
//   - NaN and infinity in an input reach the outputs computed from it, and no others.
//
// Where versions are listed, slowest first, the figures are ns on one thread of an AMD EPYC (Zen 4), whose
// peak is 118 GFLOP/s in float32, for 8 lanes and 16 alike. There are none for neon, tested under emulation.
// Those marked Zen 5 were measured on one thread of another, whose peak is 290 GFLOP/s with 16 lanes.

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

/// How many activations share a scale in the products with quantised weights: half of a block of weights.
enum { SATTN_ACTIVATION_BLOCK = 16 };

/// A step of Adam (Kingma and Ba, 2015, arXiv:1412.6980) or AdamW (Loshchilov and Hutter, 2019,
/// arXiv:1711.05101), with what is the same for every element worked out beforehand.
typedef struct {
    /// Multiplies the gradient: less than 1 where its norm is clipped.
    float gradient_scale;
    /// Adam's decay, added to the gradient times the parameter; 0 for AdamW.
    float added_decay;
    /// AdamW's decay: what is kept of the parameter, 1 - learning rate · decay; 1 for Adam.
    float kept;
    /// 1 - β₁
    float first_share;
    /// β₂
    float second_kept;
    /// 1 - β₂
    float second_share;
    /// Learning rate / (1 - β₁ᵗ)
    float step_size;
    /// 1 / √(1 - β₂ᵗ)
    float inverse_root_correction;
    float epsilon;
} sattn_adam;

/// A step of gradient descent with momentum, as in Sutskever et al., 2013, and as PyTorch counts it.
typedef struct {
    /// Multiplies the gradient: less than 1 where its norm is clipped.
    float gradient_scale;
    /// Added to the gradient times the parameter.
    float added_decay;
    float learning_rate;
    float momentum;
    bool is_nesterov;
} sattn_momentum;

/// What is summed over the elements of a query and a key.
typedef enum {
    /// a · b
    SATTN_PRODUCT,
    /// (a - b)²
    SATTN_SQUARED_DISTANCE,
    /// |a - b|
    SATTN_ABSOLUTE_DISTANCE,
} sattn_score;

/// A block of queries and a block of keys and values of one head, and what the softmax has come to so far.
typedef struct {
    /// How many queries and keys there are, and how long queries and values are.
    size_t rows, keys, depth, width;
    /// Row r at queries + r * query_stride.
    const float *queries;
    size_t query_stride;
    /// The keys as `product_packed` takes them, panel after panel; there is memory for the last one's whole width.
    /// NULL where `scores` holds the scores already, with -∞ where a key is not seen.
    const float *panels;
    sattn_score operation;
    /// Multiplies each product or distance of a query and a key.
    float scale;
    /// Which keys each query sees, from begins[r] to before ends[r], neither above `keys`. NULL is 0, and `keys`.
    const uint32_t *begins, *ends;
    /// Row r at values + r * value_stride; NULL where only the weights are asked for.
    const float *values;
    size_t value_stride;
    /// Rows of at least `keys`, rounded up to a multiple of 64. Given scores have a row for each query, and their
    /// weights take their place; else there are 8 rows, for use in between.
    float *scores;
    size_t score_stride;
    /// Rows of `width`: Σ exp(score - maximum) · value.
    float *averages;
    /// For each query the largest score, and Σ exp(score - maximum).
    float *maxima, *sums;
} sattn_attention_tile;

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
    /// `product` with b packed: its columns in panels of `tile_columns`, each with its rows side by side. Panel
    /// p begins at panels + p * panel_stride, its row k `tile_columns` further for each k; what the last panel
    /// lacks in columns is not read. Each sum starts from start[r * start_stride + c], which may be `out` (as
    /// `product_add`) or a row for every r (`start_stride` 0), or from 0 if `start` is NULL. The bits are
    /// those of `product` and `product_add`.
    ///
    /// Versions, with GFLOP/s for 96 rows, 512 columns, depth 256 (Zen 5):
    ///   scalar   25
    ///   avx2    134
    ///   avx512  261  90 % of peak; 270 by `product`, where b is small enough
    /// For larger matrices `product` reads b from ever farther away: packed, panels follow each other in memory.
    void (*product_packed)(float *out, size_t out_stride, const float *start, size_t start_stride,
                           const float *a, size_t a_stride, const float *panels, size_t panel_stride,
                           size_t rows, size_t columns, size_t depth);
    /// How many columns a panel of `product_packed` has: as many as a block of sums in registers.
    size_t tile_columns;
    /// out[c * out_stride + r] = x[r * x_stride + c] for r in 0..<rows and c in 0..<columns.
    ///
    /// Versions, with ns for 256 rows, 64 columns (Zen 5):
    ///   scalar  32,300
    ///   avx2     3,900  8 × 8 in registers, exchanged in three rounds
    ///   avx512   1,500  16 × 16, in four
    void (*transpose)(float *out, size_t out_stride, const float *x, size_t x_stride, size_t rows,
                      size_t columns);
    /// A step of attention: takes a block of keys and values into the averages of some queries. A query that sees
    /// none of the keys is left as it is. Bits are the same whatever queries stand beside one, and whatever keys
    /// that it does not see; NaN and infinity in those, or in their values, reach nothing.
    ///
    /// Versions, with GFLOP/s for 96 queries, 512 keys, and queries and values of 32, 64 and 128 (Zen 5):
    ///   scalar   12   15   16
    ///   avx2    107  120  128  89 % of peak at 64
    ///   avx512  226  247  256  91 %
    /// At 64 a vector of scores takes 64 cycles of products, and 5 of exp. What brought avx512 there from 228: the
    /// largest lane in four rounds instead of one after the other (230), all queries' maxima before the first exp,
    /// and a table in exp (see avx512.c; 4.6 cycles instead of 5.8). Lost, or no gain: 12, 24 or 96 queries at a
    /// time instead of 6 (within 2 %: the scores leave the first-level cache, and the panels stay in it), 256 keys
    /// (-3 %) or 1,024 (0), 2ⁿ by adding to the exponent's bits instead of scalef (-2 %), fetching the next block of
    /// keys and values meanwhile (0).
    void (*attend)(const sattn_attention_tile *tile);
    /// As `attend`, for processors that multiply bfloat16 and add the products in float32 (numbers below the normal ones
    /// count as 0); NULL for others. What is multiplied are pairs of bfloat16, each in the place of a float, its first
    /// element in the lower half: `queries` and `panels` have pairs along the depth, which counts pairs, and `values` has
    /// what `pair_values` makes of the values, from row 0 of the block on, and pairs of zeros up to a multiple of 16 behind
    /// the last. There are panels, of products, and values. The weights are rounded to bfloat16 before they multiply the
    /// values; their sum is that of the weights in float32.
    ///
    /// Versions, with GFLOP/s for 96 queries, 512 keys, and queries and values of 32, 64 and 128 (Zen 5):
    ///   avx512 with bf16  365  444  484, of a peak of 540
    /// On Emerald Rapids, whose vectors multiply bfloat16 at half the speed of float32, 12 heads of 2,048 keys of 64 took
    /// two threads 84.9 ms by vectors and 17.3 by tiles (amx), 743 GFLOP/s. Depths and widths that are no multiple of 32 and
    /// 16 are left to the vectors.
    void (*attend_bfloat16)(const sattn_attention_tile *tile);
    /// out[r / 2 * columns + c] = x[r * x_stride + c] in the lower half, x[(r + 1) * x_stride + c] in the upper, for
    /// even r; 0 for a row that is not there. NULL where `attend_bfloat16` is.
    void (*pair_values)(uint32_t *out, const uint16_t *x, size_t x_stride, size_t rows, size_t columns);
    /// out[r * out_stride + c] = x[r * x_stride + c] · (1 / divisors[r]). `out` may be `x`.
    void (*divide_rows)(float *out, size_t out_stride, const float *x, size_t x_stride, const float *divisors,
                        size_t rows, size_t columns);
    /// `product` with b turned, as the weights of a layer lie, for few rows:
    ///
    ///     out[r * out_stride + c] = start[r * start_stride + c] + Σ_k a[r * a_stride + k] · b[c * b_stride + k]
    ///
    /// `b` is stored as `type`, float32, float16 or bfloat16, of any alignment; `start` is as for `product_packed`.
    /// The bits are those of `product` with b turned and decoded.
    ///
    /// Versions, with µs for 1, 4 and 8 rows of 1,536 columns, depth 576, in bfloat16 (Zen 5):
    ///   scalar  2,370  9,500  19,390  numbers decoded one by one
    ///   avx2       95    114     227  8 × 8 words turned in registers, for up to 4 rows
    ///   avx512     49     56      73  16 × 16, for up to 8 rows
    /// One row is bound by the latency of its sums. From memory, on two threads, it reads 61 GB/s where plain reading
    /// reaches 70: fetching the next 16 rows of b ahead, in the order in which they lie, took it there from 39. Lost:
    /// 32 rows of b at a time, 1.4 times as fast in the cache (45 GB/s from memory), fetching ahead row by row (56).
    void (*product_transposed)(float *out, size_t out_stride, const float *start, size_t start_stride,
                               const float *a, size_t a_stride, const void *b, sattn_weight_type type,
                               size_t b_stride, size_t rows, size_t columns, size_t depth);
    /// `transpose` of a matrix stored as `type`, float32, float16 or bfloat16, of any alignment.
    void (*transpose_stored)(float *out, size_t out_stride, const void *x, sattn_weight_type type,
                             size_t x_stride, size_t rows, size_t columns);
    /// `product_packed` of bfloat16 numbers, with sums in float32. Numbers 2k and 2k + 1 of a row of `a`, and of a
    /// column of b, make up a pair, in a word of a panel whose first number is the lower half: `panels` is the
    /// transpose of b's columns, word by word. Adds to what `out` holds if `continues`.
    ///
    /// A sum goes through the pairs in ascending order, and in each through the second product first, with a rounding
    /// after each. (With AVX-512 BF16, numbers below the normal ones count as 0.) With AMX 16 pairs at a time are added to
    /// each other, the first numbers' products and beside them the second ones', and then to the sum.
    ///
    /// `bfloat16_rows` are best given at a time, or a multiple.
    ///
    /// Versions, with GFLOP/s for 96 rows, 256 columns, depth 1,024 (Zen 5):
    ///   scalar    3
    ///   avx2     64  each pair by two products in float32
    ///   avx512  556  with AVX-512 BF16
    /// With AMX 2,048 × 2,048 × 2,048 ran at 1,536 GFLOP/s, by vectors at 160 (Emerald Rapids, two threads).
    size_t bfloat16_rows;
    void (*product_packed_bfloat16)(float *out, size_t out_stride, bool continues, const uint16_t *a,
                                    size_t a_stride, const uint32_t *panels, size_t panel_stride, size_t rows,
                                    size_t columns, size_t pairs);
    /// The same bits in the same table, for few rows, with `b` as it lies: its row c is column c of the product.
    void (*product_transposed_bfloat16)(float *out, size_t out_stride, const uint16_t *a, size_t a_stride,
                                        const uint16_t *b, size_t b_stride, size_t rows, size_t columns,
                                        size_t pairs);
    /// op(a, b) = (a - b)²
    void (*squared_distance)(float *out, size_t out_stride, const float *a, size_t a_stride, const float *b,
                             size_t b_stride, size_t rows, size_t columns, size_t depth);
    /// op(a, b) = |a - b|
    ///
    /// In avx512 a sum that is made by multiply-add with 1 took 3,800 ns down to 3,200 for 64 rows, 64 columns, depth 64
    /// (Zen 5): subtractions and additions no longer share their units.
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

    /// `dot_rows` for a few rows, with b as a cache stores it: float32, float16 or bfloat16, converted in
    /// registers. The vector versions add in an order of their own, the same for every element.
    ///
    /// Versions of this and `product_add_stored`, in one loop with scale and softmax over chunks of 256 keys: µs on
    /// two threads for 9 rows in 3 heads, 4,096 keys, depth 64, in float32 and bfloat16 (Zen 5)
    ///   scalar  2,180     1,600
    ///   avx2       61        68     3 rows × 4 keys of sums, 3 rows × 4 vectors of values
    ///   avx512  41 to 51  34 to 39  3 rows × 8 keys
    /// Out of the cache, with 32,768 keys: 51 GB/s in float32 and 71 in bfloat16 without fetching ahead, 68 to 74
    /// and 85 to 87 with 8 KiB ahead. Lost: fetching all values of a chunk before its keys are multiplied (48), and
    /// chunks of 128 and 512 keys (52 and 53, as 256).
    void (*dot_stored)(float *out, size_t out_stride, const float *a, size_t a_stride, const void *b,
                       size_t b_stride, sattn_weight_type type, size_t rows, size_t columns, size_t depth);
    /// `product_add` for a few rows, with b as a cache stores it.
    void (*product_add_stored)(float *out, size_t out_stride, const float *a, size_t a_stride, const void *b,
                               size_t b_stride, sattn_weight_type type, size_t rows, size_t columns,
                               size_t depth);

    /// The largest of x[0..<count]; -∞ if there is none. NaN elements are passed over.
    float (*maximum)(const float *x, size_t count);
    /// In place x = exp(x - shift); returns the sum, 0 if there is none. NaN stays NaN. exp is ∞ above 88.72, and exactly
    /// 0 at -∞ and where it would lie below the normal numbers (the scalar version gives subnormal ones).
    ///
    /// Versions, with ns for 512 elements:
    ///   scalar  2,860  the C library's exp
    ///   avx2      215  a polynomial of degree 6
    ///   avx512    130
    float (*exp_sum)(float *x, size_t count, float shift);
    /// In place x = factor · x.
    void (*scale)(float *x, size_t count, float factor);
    /// In place x = cap · tanh(x / cap), for a finite cap other than 0; ±∞ becomes ±cap.
    void (*soft_cap)(float *x, size_t count, float cap);

    // The way back through attention. A tile of scores has its keys along rows and its queries along columns, which
    // lie side by side: `columns` is the stride.

    /// out[r * columns + c] = x[r * x_stride + c] / divisors[r], dots[r] = Σ_c out[r * columns + c] · y[r * y_stride + c]
    void (*divide_and_dot)(float *out, float *dots, const float *x, size_t x_stride, const float *y,
                           size_t y_stride, const float *divisors, size_t rows, size_t columns);
    /// In place x[r, c] = exp(factor · x[r, c] - shifts[c]), which is at most 1 but for rounding; others become anything.
    void (*softmax_weights)(float *x, size_t rows, size_t columns, float factor, const float *shifts);
    /// In place gradient[r, c] = weight[r, c] · (gradient[r, c] - deltas[c]).
    void (*score_gradients)(float *gradient, const float *weight, size_t rows, size_t columns,
                            const float *deltas);
    /// In place x[r, c] = hidden unless begins[c] ≤ r < ends[c].
    void (*keep_between)(float *x, size_t rows, size_t columns, const int32_t *begins, const int32_t *ends,
                         float hidden);
    /// In place out[r * out_stride + c] += Σ_k gradient[r * row_step + k * depth_step] · b[k * b_stride + c], in
    /// ascending order of k. So one tile of gradients serves the sums over its rows and over its columns.
    ///
    /// For 256 rows, 64 columns, depth 64, avx512 takes 7,600 ns for this and 7,900 and 14,800 for the two below (Zen 5;
    /// 277 GFLOP/s, 97 % of peak).
    void (*product_gradient)(float *out, size_t out_stride, const float *gradient, size_t row_step,
                             size_t depth_step, const float *b, size_t b_stride, size_t rows, size_t columns,
                             size_t depth);
    /// The same for gradient · (a[r * a_stride + c] - b[k * b_stride + c]).
    ///
    /// As fast as the product where subtractions have units of their own (Zen 5), else half as fast. As two products,
    /// a · Σ gradient - Σ gradient · b, it would cancel: the gradients of a softmax's scores add up to 0.
    void (*squared_distance_gradient)(float *out, size_t out_stride, const float *gradient, size_t row_step,
                                      size_t depth_step, const float *a, size_t a_stride, const float *b,
                                      size_t b_stride, size_t rows, size_t columns, size_t depth);
    /// The same for gradient · sign(a[r * a_stride + c] - b[k * b_stride + c]).
    ///
    /// Lost in avx512: the sign by comparison instead of `vfixupimm` (5,300 against 3,800 ns for 64 rows), masked
    /// additions instead of signs (6,900).
    void (*absolute_distance_gradient)(float *out, size_t out_stride, const float *gradient, size_t row_step,
                                       size_t depth_step, const float *a, size_t a_stride, const float *b,
                                       size_t b_stride, size_t rows, size_t columns, size_t depth);
    /// The way back through `additive`, but for the factor weights[f] of queries and keys. In place, for each pair
    /// whose `gradient[key * query_count + query]` is not 0 (others are not read), with h = tanh(query[f] + key[f]):
    ///
    ///     query_sums[query, f] += gradient · (1 - h²)    key_sums[key, f] += gradient · (1 - h²)
    ///     weight_sums[f] += gradient · h
    ///
    /// The sums have rows of `features`. Each runs over the others in ascending order, but for that of the weights.
    ///
    /// For 64 queries, 64 keys and 64 features avx512 takes 55,400 ns, where `additive` takes 36,400 (Zen 5).
    void (*additive_gradient)(float *query_sums, float *key_sums, float *weight_sums, const float *gradient,
                              const float *queries, size_t query_stride, const float *keys, size_t key_stride,
                              size_t query_count, size_t key_count, size_t features);
    /// out = x / ‖x‖, and 0 where x is 0. The norm is a float64: squares neither overflow nor vanish. `out` may be `x`.
    void (*normalize)(float *out, const float *x, size_t count);
    /// out = (x - mean) · factor · weight + bias with factor = 1 / √(variance + epsilon); without the bias where it is NULL.
    /// Mean and variance are summed in float64. statistics[0] = mean, statistics[1] = factor. `count` is at least 1; `out`
    /// may be `x`.
    void (*layer_norm)(float *out, const float *x, const float *weight, const float *bias, size_t count,
                       double epsilon, double *statistics);

    // Largest errors of the vector versions, in units of the last place: exp 1.0, tanh and silu 2.2, sigmoid
    // 2.4, gelu 5.1, gelu_tanh 1.7 above 0; below, where the error of its exponent counts as well, 2.6 as far
    // as -1 and 15 as far as -3.

    /// out = tanh(x). `out` may be `x`, here and in those below.
    ///
    /// Versions of the functions below, with ns for 4,096 elements (Zen 5), `gelu_g` the gradient:
    ///           sigmoid  relu    gelu  gelu_g  add
    ///   scalar    6,020   250  31,570  43,890  300
    ///   avx2      1,220   160   2,740   2,830  160
    ///   avx512      590   100   1,330   1,380   80
    void (*tanh)(float *out, const float *x, size_t count);
    /// out = 1 / (1 + exp(-x))
    void (*sigmoid)(float *out, const float *x, size_t count);
    /// out = max(0, x)
    void (*relu)(float *out, const float *x, size_t count);
    /// out = x / (1 + exp(-x)); 0 for -∞.
    void (*silu)(float *out, const float *x, size_t count);
    /// out = x Φ(x), Φ the standard normal distribution; 0 for -∞.
    void (*gelu)(float *out, const float *x, size_t count);
    /// out = x/2 · (1 + tanh(√(2/π) (x + 0.044715 x³))); 0 for -∞.
    void (*gelu_tanh)(float *out, const float *x, size_t count);

    // The way back: out = gradient · f'. tanh and sigmoid take what they returned, y = f(x), the others x.
    // `out` may be either input.

    /// out = gradient · (1 - y²)
    void (*tanh_gradient)(float *out, const float *y, const float *gradient, size_t count);
    /// out = gradient · y (1 - y)
    void (*sigmoid_gradient)(float *out, const float *y, const float *gradient, size_t count);
    /// out = gradient where x > 0, else 0
    void (*relu_gradient)(float *out, const float *x, const float *gradient, size_t count);
    /// out = gradient · σ(x) (1 + x (1 - σ(x)))
    void (*silu_gradient)(float *out, const float *x, const float *gradient, size_t count);
    /// out = gradient · (Φ(x) + x φ(x))
    void (*gelu_gradient)(float *out, const float *x, const float *gradient, size_t count);
    /// out = gradient · (s + x s (1 - s) 2u'), with s = σ(2u) and u = √(2/π) (x + 0.044715 x³)
    void (*gelu_tanh_gradient)(float *out, const float *x, const float *gradient, size_t count);

    /// out = x + y. `out` may be `x` or `y`, here and in the two below.
    void (*add)(float *out, const float *x, const float *y, size_t count);
    /// out = x - y
    void (*subtract)(float *out, const float *x, const float *y, size_t count);
    /// out = x · y
    void (*multiply)(float *out, const float *x, const float *y, size_t count);
    /// In place sum[c] = sum[c] + Σ_r x[r * x_stride + c], over r in 0..<rows in ascending order.
    void (*column_sums)(float *sum, const float *x, size_t x_stride, size_t rows, size_t columns);
    /// Σ x², in float64. The vector versions add in an order of their own.
    double (*sum_of_squares)(const float *x, size_t count);

    /// Takes a step for each element, in place in `parameter` and its moments `first` and `second`:
    ///
    ///     g      = gradient_scale · gradient + added_decay · parameter
    ///     first  = first + first_share · (g - first)
    ///     second = second_kept · second + second_share · g²
    ///     parameter = kept · parameter - step_size · first / (√second · inverse_root_correction + epsilon)
    void (*adam_step)(float *parameter, const float *gradient, float *first, float *second, size_t count,
                      const sattn_adam *step);
    /// Takes a step for each element, in place in `parameter` and `velocity`; `velocity` may be NULL, which leaves
    /// out the momentum (the second line, and the third is g):
    ///
    ///     g = gradient_scale · gradient + added_decay · parameter
    ///     velocity = momentum · velocity + g
    ///     direction = is_nesterov ? g + momentum · velocity : velocity
    ///     parameter = parameter - learning_rate · direction
    void (*momentum_step)(float *parameter, const float *gradient, float *velocity, size_t count,
                          const sattn_momentum *step);

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

    // Products of activations with quantised weights, both as 8-bit integers. What is quantised is the activations,
    // blocks of 16 at a time:  x = d·q, with q from -127 to 127. With blocks of 32, which are the weights', the logits
    // of SmolLM2 are off by twice as much.

    /// Quantises `count` activations, a multiple of 16. For each block of `SATTN_ACTIVATION_BLOCK`, 16:
    ///
    ///     scales[b] = max |x| / 127   quants = x · 127 / max |x|, rounded, ties to even
    ///     sums[b] = scales[b] · Σ quants
    ///
    /// Where all are less than 2⁻¹⁰⁰ in magnitude, they count as 0. Where one is not finite the scale and the sum
    /// are NaN, and all quants 0. Every version gives the same bits. 145 ns for 576 with 16 lanes (Zen 5).
    void (*quantize)(int8_t *quants, float *scales, float *sums, const float *x, size_t count);
    /// out[r * out_stride + c] =
    ///     Σ_b  m[c, b] · Σ_h sums[r, b, h]  +  d[c, b] · Σ_h scales[r, b, h] · Σ_k n[c, k] · quants[r, k]
    ///
    /// over blocks b of 32 in ascending order, their two halves h, and k over each half, with weights d·n + m: m is -8d
    /// of Q4_0, and -128d of Q8_0, whose numbers count from 0. NULL where an instruction set has no product of bytes
    /// that is worth it. `depth` is a multiple of 32 and the stride of `quants`; that of `scales` and `sums` is
    /// depth / 16. `weights` are panels from `sattn_pack_panel`, of any alignment, for `columns` rows of the matrix.
    ///
    /// The inner sums are exact, so that versions differ only in the rounding of the outer ones. Activations of 2¹¹⁵
    /// and more may overflow.
    ///
    /// Versions, with GOP/s for 512 rows, 1,536 columns, depth 576, and GB/s of weights for one row, 4,096 by 4,096,
    /// out of the cache (Zen 5, one thread: peak 1,091 GOP/s, 42 GB/s); each for Q4_1, Q4_0 and Q8_0:
    ///   scalar  the definition
    ///   avx2    248 248 135   21.8 20.6 20.3   bytes of Q8_0 as two of 4 bits, whose products fit into 16
    ///   vnni    692 690 679   36.0 42.2 41.0   4 rows × 2 panels; a single row one panel, fetched 8 KB ahead
    /// With one scale for 32 activations vnni gave 788, 774 and 765, and read as fast. 4 × 3 with one half after the
    /// other, whose scales multiply d, gave 650, 640 and 637. One row without fetching ahead read 31.7 GB/s in single
    /// panels and 28.2 in threes; 1, 2 and 4 KB ahead gave from 31 to 34.
    void (*quantized_product)(float *out, size_t out_stride, const int8_t *quants, const float *scales,
                              const float *sums, const void *weights, sattn_weight_type type, size_t rows,
                              size_t columns, size_t depth);

    // Steps of recurrent layers, for `count` units of one sequence. The gates of a unit lie `gate_stride` apart;
    // the sums that they are functions of come in their place.

    /// A step of an LSTM. `gates` holds the sums of i, f, g, o, and then the gates:
    ///
    ///     i, f, o = σ(…)   g = tanh(…)   cell = f · previous_cell + i · g   output = o · tanh(cell)
    ///
    /// Versions of this and the three below, with ns for 256 units (Zen 5):
    ///   scalar  7,390  2,680  4,500  125  the C library's exp and tanh
    ///   avx2      432    283    354   85
    ///   avx512    168    167    107   61  the gates of four vectors of units side by side; 225 and 160 one by one
    /// Lost: an approximate reciprocal with one step of Newton's for the divisions (238), which are fast already.
    void (*lstm_cell)(float *gates, size_t gate_stride, const float *previous_cell, float *cell,
                      float *output, size_t count);
    /// The way back through `lstm_cell`: `gate_gradients`, of the sums, lie like the gates. `cell_gradient` comes
    /// as that of `cell`, but for what reaches it through `output`, and becomes that of `previous_cell`.
    void (*lstm_cell_gradient)(float *gate_gradients, float *cell_gradient, const float *output_gradient,
                               const float *gates, size_t gate_stride, const float *previous_cell,
                               const float *cell, size_t count);
    /// A step of a GRU whose reset gate acts on `terms`, the product with the state. `gates` holds the sums of
    /// r, z, n, and then the gates:
    ///
    ///     r, z = σ(…)   n = tanh(… + r · terms)   output = n + z · (previous - n)
    void (*gru_cell)(float *gates, size_t gate_stride, const float *terms, const float *previous, float *output,
                     size_t count);
    /// The way back through `gru_cell`: `gate_gradients`, of the sums, lie like the gates, and `term_gradients`
    /// are those of `terms`. `state_gradient` comes as that of `output`, which `output_gradient` is added to, and
    /// becomes that of `previous`, but for what reaches it through sums and terms.
    void (*gru_cell_gradient)(float *gate_gradients, float *term_gradients, float *state_gradient,
                              const float *output_gradient, const float *gates, size_t gate_stride,
                              const float *terms, const float *previous, size_t count);
} sattn_kernels;

/// `sattn_adam` in float64.
typedef struct {
    double gradient_scale, added_decay, kept, first_share, second_kept, second_share, step_size,
        inverse_root_correction, epsilon;
} sattn_adam_float64;

/// `sattn_momentum` in float64.
typedef struct {
    double gradient_scale, added_decay, learning_rate, momentum;
    bool is_nesterov;
} sattn_momentum_float64;

/// `sattn_attention_tile` in float64.
typedef struct {
        size_t rows, keys, depth, width;
        const double *queries;
    size_t query_stride;
            const double *panels;
    sattn_score operation;
        double scale;
        const uint32_t *begins, *ends;
        const double *values;
    size_t value_stride;
            double *scores;
    size_t score_stride;
        double *averages;
        double *maxima, *sums;
} sattn_attention_tile_float64;

/// The same operations in float64, in plain C: for checks and for whoever needs the digits.
typedef struct {
    const char *name;
    void (*product)(double *out, size_t out_stride, const double *a, size_t a_stride, const double *b,
                    size_t b_stride, size_t rows, size_t columns, size_t depth);
    void (*product_add)(double *out, size_t out_stride, const double *a, size_t a_stride, const double *b,
                        size_t b_stride, size_t rows, size_t columns, size_t depth);
    void (*product_packed)(double *out, size_t out_stride, const double *start, size_t start_stride,
                           const double *a, size_t a_stride, const double *panels, size_t panel_stride,
                           size_t rows, size_t columns, size_t depth);
    size_t tile_columns;
    void (*transpose)(double *out, size_t out_stride, const double *x, size_t x_stride, size_t rows,
                      size_t columns);
    void (*attend)(const sattn_attention_tile_float64 *tile);
    void (*divide_rows)(double *out, size_t out_stride, const double *x, size_t x_stride, const double *divisors,
                        size_t rows, size_t columns);
    void (*product_transposed)(double *out, size_t out_stride, const double *start, size_t start_stride,
                               const double *a, size_t a_stride, const double *b, size_t b_stride, size_t rows,
                               size_t columns, size_t depth);
    void (*squared_distance)(double *out, size_t out_stride, const double *a, size_t a_stride, const double *b,
                             size_t b_stride, size_t rows, size_t columns, size_t depth);
    void (*absolute_distance)(double *out, size_t out_stride, const double *a, size_t a_stride, const double *b,
                              size_t b_stride, size_t rows, size_t columns, size_t depth);
    void (*additive)(double *out, size_t out_stride, const double *a, size_t a_stride, const double *b,
                     size_t b_stride, size_t rows, size_t columns, size_t depth, const double *weights);
    void (*dot_rows)(double *out, size_t out_stride, const double *a, size_t a_stride, const double *b,
                     size_t b_stride, size_t rows, size_t columns, size_t depth);
    double (*maximum)(const double *x, size_t count);
    double (*exp_sum)(double *x, size_t count, double shift);
    void (*scale)(double *x, size_t count, double factor);
    void (*soft_cap)(double *x, size_t count, double cap);
    void (*divide_and_dot)(double *out, double *dots, const double *x, size_t x_stride, const double *y,
                           size_t y_stride, const double *divisors, size_t rows, size_t columns);
    void (*softmax_weights)(double *x, size_t rows, size_t columns, double factor, const double *shifts);
    void (*score_gradients)(double *gradient, const double *weight, size_t rows, size_t columns,
                            const double *deltas);
    void (*keep_between)(double *x, size_t rows, size_t columns, const int32_t *begins, const int32_t *ends,
                         double hidden);
    void (*product_gradient)(double *out, size_t out_stride, const double *gradient, size_t row_step,
                             size_t depth_step, const double *b, size_t b_stride, size_t rows, size_t columns,
                             size_t depth);
    void (*squared_distance_gradient)(double *out, size_t out_stride, const double *gradient, size_t row_step,
                                      size_t depth_step, const double *a, size_t a_stride, const double *b,
                                      size_t b_stride, size_t rows, size_t columns, size_t depth);
    void (*absolute_distance_gradient)(double *out, size_t out_stride, const double *gradient, size_t row_step,
                                       size_t depth_step, const double *a, size_t a_stride, const double *b,
                                       size_t b_stride, size_t rows, size_t columns, size_t depth);
    void (*additive_gradient)(double *query_sums, double *key_sums, double *weight_sums, const double *gradient,
                              const double *queries, size_t query_stride, const double *keys, size_t key_stride,
                              size_t query_count, size_t key_count, size_t features);
    void (*normalize)(double *out, const double *x, size_t count);
    void (*layer_norm)(double *out, const double *x, const double *weight, const double *bias, size_t count,
                       double epsilon, double *statistics);
    void (*tanh)(double *out, const double *x, size_t count);
    void (*sigmoid)(double *out, const double *x, size_t count);
    void (*relu)(double *out, const double *x, size_t count);
    void (*silu)(double *out, const double *x, size_t count);
    void (*gelu)(double *out, const double *x, size_t count);
    void (*gelu_tanh)(double *out, const double *x, size_t count);
    void (*tanh_gradient)(double *out, const double *y, const double *gradient, size_t count);
    void (*sigmoid_gradient)(double *out, const double *y, const double *gradient, size_t count);
    void (*relu_gradient)(double *out, const double *x, const double *gradient, size_t count);
    void (*silu_gradient)(double *out, const double *x, const double *gradient, size_t count);
    void (*gelu_gradient)(double *out, const double *x, const double *gradient, size_t count);
    void (*gelu_tanh_gradient)(double *out, const double *x, const double *gradient, size_t count);
    void (*add)(double *out, const double *x, const double *y, size_t count);
    void (*subtract)(double *out, const double *x, const double *y, size_t count);
    void (*multiply)(double *out, const double *x, const double *y, size_t count);
    void (*column_sums)(double *sum, const double *x, size_t x_stride, size_t rows, size_t columns);
    double (*sum_of_squares)(const double *x, size_t count);
    void (*adam_step)(double *parameter, const double *gradient, double *first, double *second, size_t count,
                      const sattn_adam_float64 *step);
    void (*momentum_step)(double *parameter, const double *gradient, double *velocity, size_t count,
                          const sattn_momentum_float64 *step);
    void (*lstm_cell)(double *gates, size_t gate_stride, const double *previous_cell, double *cell,
                      double *output, size_t count);
    void (*lstm_cell_gradient)(double *gate_gradients, double *cell_gradient, const double *output_gradient,
                               const double *gates, size_t gate_stride, const double *previous_cell,
                               const double *cell, size_t count);
    void (*gru_cell)(double *gates, size_t gate_stride, const double *terms, const double *previous,
                     double *output, size_t count);
    void (*gru_cell_gradient)(double *gate_gradients, double *term_gradients, double *state_gradient,
                              const double *output_gradient, const double *gates, size_t gate_stride,
                              const double *terms, const double *previous, size_t count);
} sattn_kernels_float64;

/// The kernels in use: the fastest that this processor has, or what ATTENTION_KERNELS names
/// (scalar, avx2, avx512, amx, neon). Chosen once, at the first call; a name that is unknown or that this
/// processor lacks is ignored, and `sattn_kernels_refused` then returns it.
const sattn_kernels *sattn_kernels_current(void);

/// What ATTENTION_KERNELS asked for in vain, or NULL.
const char *sattn_kernels_refused(void);

/// The table called `name`, or NULL where this processor or build lacks it. For tests.
const sattn_kernels *sattn_kernels_named(const char *name);

/// The float64 kernels.
const sattn_kernels_float64 *sattn_kernels_float64_current(void);

/// Whether this processor multiplies bfloat16 (AVX-512 BF16).
bool sattn_has_bfloat16(void);

/// Whether this processor multiplies signed and unsigned bytes (AVX-512 VNNI).
bool sattn_has_int8(void);

// MARK: - Peaks

/// Runs chains of the fastest multiply-adds of float32 that this processor has, whatever ATTENTION_KERNELS says,
/// without touching memory, and returns the operations done (two per multiply-add): to be timed. 0, and nothing
/// done, where there are no vectors.
size_t sattn_peak_float32(size_t rounds);
/// As `sattn_peak_float32`, with products of bfloat16 added in float32; 0 where the processor has none.
size_t sattn_peak_bfloat16(size_t rounds);
/// As `sattn_peak_float32`, with products of bytes added in int32; 0 where the processor has none.
size_t sattn_peak_int8(size_t rounds);
/// Reads whole blocks of 512 bytes, and returns the sum of their 8-byte words: to be timed.
uint64_t sattn_read(const void *source, size_t byte_count);

// MARK: - Layout of quantised weights

/// The bytes of a panel of 16 rows of `depth` weights, as many as the rows take: 0 for types without blocks.
size_t sattn_panel_byte_count(sattn_weight_type type, size_t depth);

/// Lays 16 rows of quantised weights out for `quantized_product`, or the 1 to 15 that there are, which rows of zeros
/// follow. `source` holds the rows side by side; it needs no alignment.
///
/// A panel is depth / 32 blocks. Each has the scales of 16 rows, their minima (Q4_1), and then the numbers: four of
/// row 0, the same four of row 1, and so on, so that a vector of 16 × 4 meets four activations, repeated. Numbers of
/// 4 bits stay in pairs as they are, and bytes are made unsigned by adding 128.
void sattn_pack_panel(void *panel, const void *source, sattn_weight_type type, size_t rows, size_t depth);

// MARK: - Threads

/// Calls body(context, i) once for each i in 0..<count, on the pool's threads and the caller's, and returns
/// when all are done. Indices are claimed in ascending order, each by whoever is free.
///
/// A call from inside a body runs on its own thread alone: never a deadlock. So does one that finds another
/// caller with the pool, of whose workers one stays out meanwhile: never more threads than the pool has, as long
/// as there are no more callers. (A call with one index takes no pool, so that a call from inside its body may.)
///
/// The first call that needs them starts the threads. They spin for 30 µs after each call and then sleep, at no
/// cost. A call that finds them awake costs about 0.2 µs, one that wakes a thread 7 µs. Two callers with 32 ms of
/// work for one thread each took 33 to 40 ms on two processors, and 40 to 48 with the worker in between (Zen 5).
/// After a fork without exec the child must not call this.
void sattn_parallel(size_t count, void *context, void (*body)(void *context, size_t index));

/// Calls body(context, step, item) once for each step in 0..<step_count and each item in 0..<item_count, on the
/// threads of `sattn_parallel`: the items of a step in any order, and none before all of the step before are
/// done. A thread takes the same items in every step, as long as all keep pace, so that what an item reads in
/// each step stays in the cache of its core; items beyond 64 are taken in 64 groups. Whoever does the last item of a
/// step then calls finish(context, step), unless it is NULL, and no item of the next step is done before it returns.
///
/// A step costs 0.05 µs more than its items, a call of `sattn_parallel` for each 0.2 µs (Zen 5, two threads).
/// Who waits for another thread spins for 30 µs, and then sleeps for as long again and again.
void sattn_parallel_steps(size_t step_count, size_t item_count, void *context,
                          void (*body)(void *context, size_t step, size_t item),
                          void (*finish)(void *context, size_t step));

/// How many threads `sattn_parallel` uses, the caller's included. At first what the process may use (its
/// affinity and its control group's quota, rounded up), or ATTENTION_THREADS.
size_t sattn_thread_count(void);

/// Sets the number of threads, from 1 to 512 (others are clamped). Waits for a call in progress, so a body
/// must not call it.
void sattn_set_thread_count(size_t count);

#endif

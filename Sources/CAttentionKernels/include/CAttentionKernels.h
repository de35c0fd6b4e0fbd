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
    /// Multiplies each product of a query and a key.
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
    /// out[r * out_stride + c] = x[r * x_stride + c] · (1 / divisors[r]). `out` may be `x`.
    void (*divide_rows)(float *out, size_t out_stride, const float *x, size_t x_stride, const float *divisors,
                        size_t rows, size_t columns);
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

    // Largest errors of the vector versions, in units of the last place: exp 1.0, tanh and silu 2.2, sigmoid
    // 2.4, gelu 5.1, gelu_tanh 1.7 above 0; below, where the error of its exponent counts as well, 2.6 as far
    // as -1 and 15 as far as -3.

    /// out = exp(x): ∞ above 88.72, and 0 where the result would lie below the normal numbers (the scalar
    /// version gives subnormal ones). `out` may be `x`, here and in those below.
    ///
    /// Versions of this and the functions below, with ns for 4,096 elements (Zen 5), `gelu_g` the gradient:
    ///             exp  sigmoid  relu    gelu  gelu_g  add
    ///   scalar  5,790    6,020   250  31,570  43,890  300
    ///   avx2      990    1,220   160   2,740   2,830  160
    ///   avx512    480      590   100   1,330   1,380   80
    void (*exp)(float *out, const float *x, size_t count);
    /// out = tanh(x)
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

    // Steps of recurrent layers, for `count` units of one sequence. The gates of a unit lie `gate_stride` apart;
    // the sums that they are functions of come in their place.

    /// A step of an LSTM. `gates` holds the sums of i, f, g, o, and then the gates:
    ///
    ///     i, f, o = σ(…)   g = tanh(…)   cell = f · previous_cell + i · g   output = o · tanh(cell)
    ///
    /// Versions of this and the three below, with ns for 256 units (Zen 5):
    ///   scalar  7,390  2,680  4,500  125  the C library's exp and tanh
    ///   avx2      521    283    376   85
    ///   avx512    254    167    183   61
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
    void (*exp)(double *out, const double *x, size_t count);
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

/// The kernels for processors that multiply bfloat16 themselves, and add the products in float32 (vdpbf16ps: two products
/// at a time; numbers below the normal ones count as 0).
typedef struct {
    size_t tile_columns;
    /// As `attend`, but for what is multiplied: pairs of bfloat16, each in the place of a float, its first element in
    /// the lower half. `queries` and `panels` have pairs along the depth, which counts pairs; `values` has what
    /// `pair_rows` makes of the values, from row 0 of the block on. There are panels and values. The weights are
    /// rounded to bfloat16 before they multiply the values; their sum is that of the weights in float32.
    ///
    /// Versions, with GFLOP/s for 96 queries, 512 keys, and queries and values of 32, 64 and 128 (Zen 5):
    ///   avx512 with bf16  365  444  484, of a peak of 540
    void (*attend)(const sattn_attention_tile *tile);
    /// out[r / 2 * columns + c] = x[r * x_stride + c] in the lower half, x[(r + 1) * x_stride + c] in the upper, for
    /// even r; 0 for a row that is not there.
    void (*pair_rows)(uint32_t *out, const uint16_t *x, size_t x_stride, size_t rows, size_t columns);
} sattn_bfloat16_kernels;

/// The bfloat16 kernels that go with the table in use, or NULL where it or the processor has none.
const sattn_bfloat16_kernels *sattn_bfloat16_kernels_current(void);

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

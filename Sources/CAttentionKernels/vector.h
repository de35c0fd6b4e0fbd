// The kernels in vectors of LANES floats, written once. `avx2.c`, `avx512.c` and `neon.c` include it after
// defining
//   LANES                        floats in a vector: 4, 8 or 16,
//   TILE_ROWS, TILE_VECTORS      the block of `out` that a tile kernel keeps in registers,
//   DOT_ROWS                     rows of the block of `dot_rows`; its columns are 4,
//   QUANTIZED_PRODUCT            the product with quantised weights, or NULL,
//   TABLE, TABLE_NAME            the table to fill,
// and after turning their instruction set on for every function that follows.
//
// A partial vector is loaded with its missing lanes at 0 and stored without them, by LOAD_PART and
// STORE_PART where an instruction set has something better than what stands below.

#include <string.h>

// Fused where it says so, and nowhere else.
#pragma STDC FP_CONTRACT OFF

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("clang loop unroll(full)")

/// BLOCK(rows) with a constant in place of `rows`, of which there are at most TILE_ROWS; nothing for 0.
#define WITH_CONSTANT(BLOCK, rows) \
    switch (rows) { \
    case 1: BLOCK(1); break; \
    case 2: BLOCK(2); break; \
    case 3: BLOCK(3); break; \
    case 4: BLOCK(4); break; \
    case 5: BLOCK(5); break; \
    case 6: BLOCK(6); break; \
    }
_Static_assert(TILE_ROWS == 6, "WITH_CONSTANT has a case for each number of rows.");

// MARK: - Vectors

typedef float lanes __attribute__((vector_size(4 * LANES)));
typedef int32_t int_lanes __attribute__((vector_size(4 * LANES)));
typedef uint32_t uint_lanes __attribute__((vector_size(4 * LANES)));
typedef _Float16 half_lanes __attribute__((vector_size(2 * LANES)));
typedef uint16_t uint16_lanes __attribute__((vector_size(2 * LANES)));
typedef int8_t int8_lanes __attribute__((vector_size(LANES)));
typedef uint8_t uint8_lanes __attribute__((vector_size(LANES)));

INLINE lanes broadcast(float value) {
    return value - (lanes){0};
}

/// `yes` where the mask is set, `no` elsewhere.
INLINE lanes choose(int_lanes mask, lanes yes, lanes no) {
    return (lanes)((mask & (int_lanes)yes) | (~mask & (int_lanes)no));
}

INLINE lanes magnitude(lanes x) {
    return (lanes)((int_lanes)x & 0x7FFFFFFF);
}

/// The magnitude of `x` with the sign of `sign`.
INLINE lanes with_sign(lanes x, lanes sign) {
    return (lanes)(((int_lanes)x & 0x7FFFFFFF) | ((int_lanes)sign & INT32_MIN));
}

/// The larger; the second where the first is NaN.
INLINE lanes larger(lanes x, lanes y) {
    return choose(x > y, x, y);
}

INLINE lanes load(const float *p) {
    lanes x;
    memcpy(&x, p, sizeof x);
    return x;
}

INLINE void store(float *p, lanes x) {
    memcpy(p, &x, sizeof x);
}

#ifndef LOAD_PART
/// The first `count` lanes, from 1 to LANES; the others are 0.
INLINE lanes load_part(const float *p, size_t count) {
    if (count >= LANES) return load(p);
    lanes x = {0};
    for (size_t i = 0; i < count; i++) x[i] = p[i];
    return x;
}
#endif

#ifndef STORE_PART
INLINE void store_part(float *p, lanes x, size_t count) {
    if (count >= LANES) {
        store(p, x);
        return;
    }
    float local[LANES];
    store(local, x);
    for (size_t i = 0; i < count; i++) p[i] = local[i];
}
#endif

// MARK: - Exponential function and relatives

// exp(x) = 2ⁿ exp(r), with n the integer nearest to x / ln 2 and r = x - n ln 2, |r| ≤ ln 2 / 2.
// The polynomial for (exp(r) - 1 - r) / r² is the minimax one of degree 4 for the relative error of
// exp(r) - 1, by Remez's exchange in 50 digits, with the coefficients rounded to float one by one, each time
// with those still free fitted again. Its error is 1.4e-8 of exp(r) - 1.

typedef struct {
    /// exp(r) - 1
    lanes less_one;
    /// n, in the exponent's place of a float
    int_lanes exponent;
} reduced_exp;

INLINE reduced_exp reduce_exp(lanes x) {
    // Adding 1.5 · 2²³ rounds to an integer and leaves it in the low bits.
    const lanes shifter = broadcast(0x1.8p23f);
    lanes shifted = __builtin_elementwise_fma(x, broadcast(0x1.715476p0f), shifter);
    lanes n = shifted - shifter;
    lanes r = __builtin_elementwise_fma(n, broadcast(-0x1.62e430p-1f), x);
    r = __builtin_elementwise_fma(n, broadcast(0x1.05c610p-29f), r);
    lanes p = broadcast(0x1.6ac050p-10f);
    p = __builtin_elementwise_fma(p, r, broadcast(0x1.122c38p-7f));
    p = __builtin_elementwise_fma(p, r, broadcast(0x1.55579ap-5f));
    p = __builtin_elementwise_fma(p, r, broadcast(0x1.5554aap-3f));
    p = __builtin_elementwise_fma(p, r, broadcast(0x1.fffffep-2f));
    return (reduced_exp){__builtin_elementwise_fma(p, r * r, r), (int_lanes)shifted << 23};
}

INLINE lanes exp_lanes(lanes x) {
    reduced_exp e = reduce_exp(x);
    lanes result = (lanes)((int_lanes)(1 + e.less_one) + e.exponent);
    // Below the smallest normal number: 0. Above the largest: ∞. NaN, which the sum of bits spoils, stays.
    result = choose(x < -0x1.5d589ep6f, (lanes){0}, result);
    result = choose(x > 0x1.62e42ep6f, broadcast(__builtin_inff()), result);
    return choose(x == x, result, x);
}

INLINE lanes tanh_lanes(lanes x) {
    // tanh|x| = t / (t + 2) with t = exp(2|x|) - 1, which keeps every digit near 0.
    // From 9.02 on it rounds to 1.
    lanes size = magnitude(x);
    size = choose(size > 10, broadcast(10), size);
    reduced_exp e = reduce_exp(size + size);
    lanes power = (lanes)(e.exponent + 0x3F800000);
    lanes t = __builtin_elementwise_fma(power, e.less_one, power - 1);
    return with_sign(t / (t + 2), x);
}

INLINE lanes soft_cap_lanes(lanes x, lanes cap) {
    return cap * tanh_lanes(x / cap);
}

INLINE lanes silu_lanes(lanes x) {
    // Below -128 exp(-x) is ∞ and the result 0; -∞ itself would be -∞/∞.
    x = choose(x < -128, broadcast(-128), x);
    return x / (1 + exp_lanes(-x));
}

INLINE lanes gelu_tanh_lanes(lanes x) {
    // (1 + tanh u) / 2 = 1 / (1 + exp(-2u)), which does not cancel where u is negative.
    // Below -16 exp(-2u) is ∞ and the result 0; -∞ itself would be -∞/∞.
    x = choose(x < -16, broadcast(-16), x);
    const float twice_root = 1.5957691216057308f;  // 2 √(2/π)
    lanes twice_u = twice_root * __builtin_elementwise_fma(0.044715f * x * x, x, x);
    return x / (1 + exp_lanes(-twice_u));
}

INLINE lanes sigmoid_lanes(lanes x) {
    return 1 / (1 + exp_lanes(-x));
}

INLINE lanes relu_lanes(lanes x) {
    return choose(x <= 0, (lanes){0}, x);  // NaN stays
}

// The normal distribution beyond t ≥ 0 is Q(t) = exp(-t²/2) · P(u) / (t + 3), with u = (t - 3) / (t + 3) in
// -1..<1. P is nearly constant; its polynomial of degree 8 was fitted for the smallest relative error over
// 0...14, which is 4.7e-8, in 40 digits.

typedef struct {
    /// Q(t)
    lanes beyond;
    /// exp(-t²/2)
    lanes power;
} normal_tail;

INLINE normal_tail normal_tail_lanes(lanes t) {
    lanes square = t * t;
    // What t² lost in rounding would cost the tail its last digits.
    lanes lost = __builtin_elementwise_fma(t, t, -square);
    lanes power = exp_lanes(-0.5f * square);
    power = __builtin_elementwise_fma(power, -0.5f * lost, power);
    lanes inverse = 1 / (t + 3);
    lanes u = (t - 3) * inverse;
    lanes p = broadcast(-0x1.17baecp-12f);
    p = __builtin_elementwise_fma(p, u, broadcast(-0x1.d99116p-11f));
    p = __builtin_elementwise_fma(p, u, broadcast(0x1.1a13f4p-10f));
    p = __builtin_elementwise_fma(p, u, broadcast(0x1.c5c432p-8f));
    p = __builtin_elementwise_fma(p, u, broadcast(-0x1.576816p-7f));
    p = __builtin_elementwise_fma(p, u, broadcast(-0x1.831f3ap-5f));
    p = __builtin_elementwise_fma(p, u, broadcast(0x1.d71462p-3f));
    p = __builtin_elementwise_fma(p, u, broadcast(-0x1.04c734p-1f));
    p = __builtin_elementwise_fma(p, u, broadcast(0x1.754a74p-1f));
    return (normal_tail){p * inverse * power, power};
}

/// |x|, at most 16, where the tail is 0 already: ∞ · 0 would be NaN.
INLINE lanes bounded_magnitude(lanes x) {
    lanes size = magnitude(x);
    return choose(size > 16, broadcast(16), size);
}

INLINE lanes gelu_lanes(lanes x) {
    // x Φ(x) = max(x, 0) - |x| Q(|x|), which does not cancel where x is negative.
    lanes size = bounded_magnitude(x);
    lanes product = size * normal_tail_lanes(size).beyond;
    return choose(x > 0, x - product, -product);
}

typedef enum { TANH, SIGMOID, RELU, SILU, GELU, GELU_TANH, SOFT_CAP, SCALE } function;

INLINE lanes apply(function f, lanes x, lanes parameter) {
    switch (f) {
    case TANH: return tanh_lanes(x);
    case SIGMOID: return sigmoid_lanes(x);
    case RELU: return relu_lanes(x);
    case SILU: return silu_lanes(x);
    case GELU: return gelu_lanes(x);
    case GELU_TANH: return gelu_tanh_lanes(x);
    case SOFT_CAP: return soft_cap_lanes(x, parameter);
    case SCALE: return parameter * x;
    }
}

INLINE void map(function f, float *out, const float *x, size_t count, float parameter) {
    lanes p = broadcast(parameter);
    size_t i = 0;
    for (; i + LANES <= count; i += LANES) store(out + i, apply(f, load(x + i), p));
    if (i < count) store_part(out + i, apply(f, load_part(x + i, count - i), p), count - i);
}

static void tanh_each(float *out, const float *x, size_t count) {
    map(TANH, out, x, count, 0);
}

static void sigmoid_each(float *out, const float *x, size_t count) {
    map(SIGMOID, out, x, count, 0);
}

static void relu_each(float *out, const float *x, size_t count) {
    map(RELU, out, x, count, 0);
}

static void gelu_each(float *out, const float *x, size_t count) {
    map(GELU, out, x, count, 0);
}

static void silu_each(float *out, const float *x, size_t count) {
    map(SILU, out, x, count, 0);
}

static void gelu_tanh_each(float *out, const float *x, size_t count) {
    map(GELU_TANH, out, x, count, 0);
}

static void soft_cap(float *x, size_t count, float cap) {
    map(SOFT_CAP, x, x, count, cap);
}

static void scale(float *x, size_t count, float factor) {
    map(SCALE, x, x, count, factor);
}

// MARK: - Functions of two elements

INLINE lanes silu_slope(lanes x) {
    // s + x s (1 - s), with s = σ(x). From ±128 on it is 0 or 1; ∞ itself would be ∞ · 0.
    x = choose(x < -128, broadcast(-128), choose(x > 128, broadcast(128), x));
    lanes s = sigmoid_lanes(x);
    return __builtin_elementwise_fma(x * s, 1 - s, s);
}

INLINE lanes gelu_slope(lanes x) {
    // Φ(x) + x φ(x); for negative x that is Q(|x|) - |x| φ(x), and together they make 1.
    lanes size = bounded_magnitude(x);
    normal_tail tail = normal_tail_lanes(size);
    const float density = 0.3989422804014327f;  // 1 / √(2π)
    lanes slope = __builtin_elementwise_fma(-density * size, tail.power, tail.beyond);
    return choose(x > 0, 1 - slope, slope);
}

INLINE lanes gelu_tanh_slope(lanes x) {
    // s + x s (1 - s) · 2u', with s = (1 + tanh u) / 2 = σ(2u).
    x = choose(x < -16, broadcast(-16), choose(x > 16, broadcast(16), x));
    const float twice_root = 1.5957691216057308f;  // 2 √(2/π)
    lanes square = x * x;
    lanes s = sigmoid_lanes(twice_root * __builtin_elementwise_fma(0.044715f * square, x, x));
    lanes inner = twice_root * __builtin_elementwise_fma(broadcast(0.134145f), square, broadcast(1));
    return __builtin_elementwise_fma(x * s * (1 - s), inner, s);
}

typedef enum {
    ADD,
    SUBTRACT,
    MULTIPLY,
    TANH_GRADIENT,
    SIGMOID_GRADIENT,
    RELU_GRADIENT,
    SILU_GRADIENT,
    GELU_GRADIENT,
    GELU_TANH_GRADIENT,
} function_of_two;

INLINE lanes apply_to_two(function_of_two f, lanes x, lanes y) {
    switch (f) {
    case ADD: return x + y;
    case SUBTRACT: return x - y;
    case MULTIPLY: return x * y;
    case TANH_GRADIENT: return y * (1 - x * x);
    case SIGMOID_GRADIENT: return y * (x * (1 - x));
    case RELU_GRADIENT: return choose(x > 0, y, (lanes){0});
    case SILU_GRADIENT: return y * silu_slope(x);
    case GELU_GRADIENT: return y * gelu_slope(x);
    case GELU_TANH_GRADIENT: return y * gelu_tanh_slope(x);
    }
}

INLINE void map_two(function_of_two f, float *out, const float *x, const float *y, size_t count) {
    size_t i = 0;
    for (; i + LANES <= count; i += LANES) store(out + i, apply_to_two(f, load(x + i), load(y + i)));
    if (i < count)
        store_part(out + i, apply_to_two(f, load_part(x + i, count - i), load_part(y + i, count - i)),
                   count - i);
}

#define FUNCTION_OF_TWO(name, f) \
    static void name(float *out, const float *x, const float *y, size_t count) { \
        map_two(f, out, x, y, count); \
    }
FUNCTION_OF_TWO(add, ADD)
FUNCTION_OF_TWO(subtract, SUBTRACT)
FUNCTION_OF_TWO(multiply, MULTIPLY)
FUNCTION_OF_TWO(tanh_gradient, TANH_GRADIENT)
FUNCTION_OF_TWO(sigmoid_gradient, SIGMOID_GRADIENT)
FUNCTION_OF_TWO(relu_gradient, RELU_GRADIENT)
FUNCTION_OF_TWO(silu_gradient, SILU_GRADIENT)
FUNCTION_OF_TWO(gelu_gradient, GELU_GRADIENT)
FUNCTION_OF_TWO(gelu_tanh_gradient, GELU_TANH_GRADIENT)
#undef FUNCTION_OF_TWO

// MARK: - Steps of optimizers

/// One step for the elements of a vector.
INLINE lanes adam_lanes(lanes parameter, lanes gradient, lanes *first, lanes *second,
                        const sattn_adam *step) {
    gradient = step->gradient_scale * gradient;
    gradient = __builtin_elementwise_fma(broadcast(step->added_decay), parameter, gradient);
    *first = __builtin_elementwise_fma(broadcast(step->first_share), gradient - *first, *first);
    *second = __builtin_elementwise_fma(step->second_share * gradient, gradient, step->second_kept * *second);
    lanes deviation = __builtin_elementwise_sqrt(*second) * step->inverse_root_correction + step->epsilon;
    return step->kept * parameter - step->step_size * *first / deviation;
}

static void adam_step(float *parameter, const float *gradient, float *first, float *second, size_t count,
                      const sattn_adam *step) {
    for (size_t i = 0; i < count; i += LANES) {
        size_t part = count - i < LANES ? count - i : LANES;
        lanes m = load_part(first + i, part), v = load_part(second + i, part);
        lanes p = adam_lanes(load_part(parameter + i, part), load_part(gradient + i, part), &m, &v, step);
        store_part(parameter + i, p, part);
        store_part(first + i, m, part);
        store_part(second + i, v, part);
    }
}

static void momentum_step(float *parameter, const float *gradient, float *velocity, size_t count,
                          const sattn_momentum *step) {
    for (size_t i = 0; i < count; i += LANES) {
        size_t part = count - i < LANES ? count - i : LANES;
        lanes p = load_part(parameter + i, part);
        lanes g = step->gradient_scale * load_part(gradient + i, part);
        g = __builtin_elementwise_fma(broadcast(step->added_decay), p, g);
        if (velocity != NULL) {
            lanes v = __builtin_elementwise_fma(broadcast(step->momentum), load_part(velocity + i, part), g);
            store_part(velocity + i, v, part);
            g = step->is_nesterov ? __builtin_elementwise_fma(broadcast(step->momentum), v, g) : v;
        }
        store_part(parameter + i, p - step->learning_rate * g, part);
    }
}

typedef double double_lanes __attribute__((vector_size(8 * LANES)));

static double sum_of_squares(const float *x, size_t count) {
    double_lanes sum = {0};
    for (size_t i = 0; i < count; i += LANES) {
        double_lanes y =
            __builtin_convertvector(load_part(x + i, count - i < LANES ? count - i : LANES), double_lanes);
        sum += y * y;
    }
    double result = 0;
    for (int l = 0; l < LANES; l++) result += sum[l];
    return result;
}

// MARK: - Steps of recurrent layers

// Several vectors at a time, operation by operation: one after the other they would wait for each other's results,
// since a processor looks ahead no further than one or two of these functions are long.

#define EACH UNROLL for (int n = 0; n < count; n++)

/// `reduce_exp` for `count` vectors, a constant: exp(x) = 2ⁿ (1 + less_one), with `power` = 2ⁿ.
INLINE void reduce_exp_each(const int count, const lanes *x, lanes *less_one, lanes *power) {
    const lanes shifter = broadcast(0x1.8p23f);
    lanes shifted[8], rest[8], p[8];
    EACH shifted[n] = __builtin_elementwise_fma(x[n], broadcast(0x1.715476p0f), shifter);
    EACH power[n] = shifted[n] - shifter;
    EACH rest[n] = __builtin_elementwise_fma(power[n], broadcast(-0x1.62e430p-1f), x[n]);
    EACH rest[n] = __builtin_elementwise_fma(power[n], broadcast(0x1.05c610p-29f), rest[n]);
    EACH p[n] = __builtin_elementwise_fma(broadcast(0x1.6ac050p-10f), rest[n], broadcast(0x1.122c38p-7f));
    EACH p[n] = __builtin_elementwise_fma(p[n], rest[n], broadcast(0x1.55579ap-5f));
    EACH p[n] = __builtin_elementwise_fma(p[n], rest[n], broadcast(0x1.5554aap-3f));
    EACH p[n] = __builtin_elementwise_fma(p[n], rest[n], broadcast(0x1.fffffep-2f));
    EACH less_one[n] = __builtin_elementwise_fma(p[n], rest[n] * rest[n], rest[n]);
    EACH power[n] = (lanes)(((int_lanes)shifted[n] << 23) + 0x3F800000);
}

/// In place: tanh where bit n of `hyperbolic` is set, else the logistic function. NaN stays.
INLINE void gates_each(const int count, const unsigned hyperbolic, lanes *x) {
    lanes argument[8], less_one[8], power[8];
    EACH if (hyperbolic >> n & 1) {
        lanes size = magnitude(x[n]);
        size = choose(size > 10, broadcast(10), size);
        argument[n] = size + size;
    } else {
        lanes bounded = choose(x[n] > 87, broadcast(87), x[n]);
        argument[n] = -choose(bounded < -87, broadcast(-87), bounded);
    }
    reduce_exp_each(count, argument, less_one, power);
    EACH if (hyperbolic >> n & 1) {
        // tanh|x| = t / (t + 2) with t = exp(2|x|) - 1
        lanes t = __builtin_elementwise_fma(power[n], less_one[n], power[n] - 1);
        x[n] = with_sign(t / (t + 2), x[n]);
    } else {
        lanes result = 1 / (__builtin_elementwise_fma(power[n], less_one[n], power[n]) + 1);
        x[n] = choose(x[n] < -87, (lanes){0}, result);  // below 1.6e-38
    }
}

#undef EACH

/// `vectors`, a constant, of units; where it is 1, the first `part` of its lanes.
INLINE void lstm_units(const int vectors, size_t part, float *gates, size_t gate_stride, const float *previous_cell,
                       float *cell, float *output) {
    lanes released[4], gate[4][4];
    UNROLL for (int v = 0; v < vectors; v++) {
        size_t u = (size_t)v * LANES;
        UNROLL for (int g = 0; g < 4; g++) gate[v][g] = load_part(gates + (size_t)g * gate_stride + u, part);
    }
    // i, f, g, o: eight at a time.
    if (vectors > 1)
        UNROLL for (int v = 0; v < vectors; v += 2) gates_each(8, 0x44, gate[v]);
    else
        gates_each(4, 0x4, gate[0]);
    UNROLL for (int v = 0; v < vectors; v++) {
        size_t u = (size_t)v * LANES;
        UNROLL for (int g = 0; g < 4; g++) store_part(gates + (size_t)g * gate_stride + u, gate[v][g], part);
        released[v] = __builtin_elementwise_fma(gate[v][1], load_part(previous_cell + u, part),
                                                gate[v][0] * gate[v][2]);
        store_part(cell + u, released[v], part);
    }
    gates_each(vectors, 0xF, released);
    UNROLL for (int v = 0; v < vectors; v++)
        store_part(output + (size_t)v * LANES, gate[v][3] * released[v], part);
}

static void lstm_cell(float *gates, size_t gate_stride, const float *previous_cell, float *cell, float *output,
                      size_t count) {
    size_t u = 0;
    for (; LANES > 8 && u + 4 * LANES <= count; u += 4 * LANES)
        lstm_units(4, LANES, gates + u, gate_stride, previous_cell + u, cell + u, output + u);
    for (; u < count; u += LANES)
        lstm_units(1, count - u < LANES ? count - u : LANES, gates + u, gate_stride, previous_cell + u, cell + u,
                   output + u);
}

static void lstm_cell_gradient(float *gate_gradients, float *cell_gradient, const float *output_gradient,
                               const float *gates, size_t gate_stride, const float *previous_cell,
                               const float *cell, size_t count) {
    for (size_t u = 0; u < count; u += LANES) {
        size_t part = count - u < LANES ? count - u : LANES;
        const float *gate = gates + u;
        float *gradient = gate_gradients + u;
        lanes i = load_part(gate, part), f = load_part(gate + gate_stride, part);
        lanes g = load_part(gate + 2 * gate_stride, part), o = load_part(gate + 3 * gate_stride, part);
        // forward: output = o · tanh(cell)
        lanes released = tanh_lanes(load_part(cell + u, part)), of_output = load_part(output_gradient + u, part);
        lanes of_cell = __builtin_elementwise_fma(of_output * o, 1 - released * released,
                                                  load_part(cell_gradient + u, part));
        store_part(gradient + 3 * gate_stride, of_output * released * (o * (1 - o)), part);
        // forward: cell = f · previous_cell + i · g
        store_part(gradient, of_cell * g * (i * (1 - i)), part);
        store_part(gradient + gate_stride, of_cell * load_part(previous_cell + u, part) * (f * (1 - f)), part);
        store_part(gradient + 2 * gate_stride, of_cell * i * (1 - g * g), part);
        store_part(cell_gradient + u, of_cell * f, part);
    }
}

INLINE void gru_units(const int vectors, size_t part, float *gates, size_t gate_stride, const float *terms,
                      const float *previous, float *output) {
    // The reset gates of all vectors, and then the update gates.
    lanes gate[8], candidate[4];
    UNROLL for (int v = 0; v < vectors; v++) {
        gate[v] = load_part(gates + (size_t)v * LANES, part);
        gate[vectors + v] = load_part(gates + gate_stride + (size_t)v * LANES, part);
    }
    gates_each(2 * vectors, 0, gate);
    UNROLL for (int v = 0; v < vectors; v++) {
        size_t u = (size_t)v * LANES;
        store_part(gates + u, gate[v], part);
        store_part(gates + gate_stride + u, gate[vectors + v], part);
        candidate[v] = __builtin_elementwise_fma(gate[v], load_part(terms + u, part),
                                                 load_part(gates + 2 * gate_stride + u, part));
    }
    gates_each(vectors, 0xF, candidate);
    UNROLL for (int v = 0; v < vectors; v++) {
        size_t u = (size_t)v * LANES;
        lanes n = candidate[v];
        store_part(gates + 2 * gate_stride + u, n, part);
        store_part(output + u,
                   __builtin_elementwise_fma(gate[vectors + v], load_part(previous + u, part) - n, n), part);
    }
}

static void gru_cell(float *gates, size_t gate_stride, const float *terms, const float *previous, float *output,
                     size_t count) {
    size_t u = 0;
    for (; LANES > 8 && u + 4 * LANES <= count; u += 4 * LANES)
        gru_units(4, LANES, gates + u, gate_stride, terms + u, previous + u, output + u);
    for (; u < count; u += LANES)
        gru_units(1, count - u < LANES ? count - u : LANES, gates + u, gate_stride, terms + u, previous + u,
                  output + u);
}

static void gru_cell_gradient(float *gate_gradients, float *term_gradients, float *state_gradient,
                              const float *output_gradient, const float *gates, size_t gate_stride,
                              const float *terms, const float *previous, size_t count) {
    for (size_t u = 0; u < count; u += LANES) {
        size_t part = count - u < LANES ? count - u : LANES;
        const float *gate = gates + u;
        lanes r = load_part(gate, part), z = load_part(gate + gate_stride, part);
        lanes n = load_part(gate + 2 * gate_stride, part);
        // forward: output = n + z · (previous - n)
        lanes gradient = load_part(output_gradient + u, part) + load_part(state_gradient + u, part);
        lanes of_candidate = gradient * (1 - z) * (1 - n * n);
        lanes of_update = gradient * (load_part(previous + u, part) - n) * (z * (1 - z));
        store_part(gate_gradients + gate_stride + u, of_update, part);
        store_part(gate_gradients + 2 * gate_stride + u, of_candidate, part);
        store_part(state_gradient + u, gradient * z, part);
        // forward: n = tanh(… + r · terms)
        store_part(gate_gradients + u, of_candidate * load_part(terms + u, part) * (r * (1 - r)), part);
        store_part(term_gradients + u, of_candidate * r, part);
    }
}

// MARK: - Transposition

#define LOWER(b, l) ((l) & (b) ? LANES + (l) - (b) : (l))
#define UPPER(b, l) ((l) & (b) ? LANES + (l) : (l) + (b))
#define FOUR(f, b, l) f(b, l), f(b, l + 1), f(b, l + 2), f(b, l + 3)
#if LANES == 4
#define ALL(f, b) FOUR(f, b, 0)
#elif LANES == 8
#define ALL(f, b) FOUR(f, b, 0), FOUR(f, b, 4)
#else
#define ALL(f, b) FOUR(f, b, 0), FOUR(f, b, 4), FOUR(f, b, 8), FOUR(f, b, 12)
#endif

/// Vectors i and i + b exchange the lanes off the diagonal, b of them at a time.
#define EXCHANGE(b) \
    UNROLL for (int i = 0; i < LANES; i++) if (!(i & b)) { \
        lanes upper = x[i], lower = x[i + b]; \
        x[i] = __builtin_shufflevector(upper, lower, ALL(LOWER, b)); \
        x[i + b] = __builtin_shufflevector(upper, lower, ALL(UPPER, b)); \
    }

INLINE void transpose_lanes(lanes x[LANES]) {
    EXCHANGE(1)
    EXCHANGE(2)
#if LANES > 4
    EXCHANGE(4)
#endif
#if LANES > 8
    EXCHANGE(8)
#endif
}

static void transpose(float *out, size_t out_stride, const float *x, size_t x_stride, size_t rows,
                      size_t columns) {
    for (size_t r = 0; r < rows; r += LANES)
        for (size_t c = 0; c < columns; c += LANES) {
            lanes block[LANES];
            const float *from = x + r * x_stride + c;
            float *to = out + c * out_stride + r;
            if (rows - r >= LANES && columns - c >= LANES) {
                UNROLL for (size_t i = 0; i < LANES; i++) block[i] = load(from + i * x_stride);
                transpose_lanes(block);
                UNROLL for (size_t i = 0; i < LANES; i++) store(to + i * out_stride, block[i]);
                continue;
            }
            size_t height = rows - r < LANES ? rows - r : LANES;
            size_t width = columns - c < LANES ? columns - c : LANES;
            UNROLL for (size_t i = 0; i < LANES; i++)
                block[i] = i < height ? load_part(from + i * x_stride, width) : (lanes){0};
            transpose_lanes(block);
            UNROLL for (size_t i = 0; i < LANES; i++)
                if (i < width) store_part(to + i * out_stride, block[i], height);
        }
}

#undef LOWER
#undef UPPER
#undef FOUR
#undef ALL
#undef EXCHANGE

// MARK: - Reductions over a vector of any length

INLINE void column_sums_of(const int vectors, size_t part, float *sum, const float *x, size_t x_stride,
                           size_t rows) {
    lanes total[4];
    UNROLL for (int v = 0; v < vectors; v++)
        total[v] = vectors == 1 ? load_part(sum, part) : load(sum + (size_t)v * LANES);
    for (size_t r = 0; r < rows; r++)
        UNROLL for (int v = 0; v < vectors; v++) {
            const float *start = x + r * x_stride + (size_t)v * LANES;
            total[v] += vectors == 1 ? load_part(start, part) : load(start);
        }
    UNROLL for (int v = 0; v < vectors; v++)
        if (vectors == 1)
            store_part(sum, total[v], part);
        else
            store(sum + (size_t)v * LANES, total[v]);
}

static void column_sums(float *sum, const float *x, size_t x_stride, size_t rows, size_t columns) {
    size_t c = 0;
    for (; c + 4 * LANES <= columns; c += 4 * LANES) column_sums_of(4, 0, sum + c, x + c, x_stride, rows);
    for (; c < columns; c += LANES)
        column_sums_of(1, columns - c < LANES ? columns - c : LANES, sum + c, x + c, x_stride, rows);
}

static float maximum(const float *x, size_t count) {
    lanes largest[4];
    UNROLL for (int v = 0; v < 4; v++)
        largest[v] = broadcast(-__builtin_inff());
    size_t i = 0;
    for (; i + 4 * LANES <= count; i += 4 * LANES)
        UNROLL for (int v = 0; v < 4; v++) largest[v] = larger(load(x + i + (size_t)v * LANES), largest[v]);
    for (; i + LANES <= count; i += LANES) largest[0] = larger(load(x + i), largest[0]);
    lanes all = larger(larger(largest[0], largest[1]), larger(largest[2], largest[3]));
    float result = all[0];
    UNROLL for (int l = 1; l < LANES; l++)
        result = all[l] > result ? all[l] : result;
    for (; i < count; i++) result = x[i] > result ? x[i] : result;
    return result;
}

typedef float four_lanes __attribute__((vector_size(16)));

/// Adds the upper half of the lanes to the lower, until four are left.
INLINE four_lanes fold_to_four(lanes x) {
#if LANES == 16
    typedef float eight_lanes __attribute__((vector_size(32)));
    eight_lanes y = __builtin_shufflevector(x, x, 0, 1, 2, 3, 4, 5, 6, 7)
                    + __builtin_shufflevector(x, x, 8, 9, 10, 11, 12, 13, 14, 15);
#else
    lanes y = x;
#endif
#if LANES == 4
    return y;
#else
    return __builtin_shufflevector(y, y, 0, 1, 2, 3) + __builtin_shufflevector(y, y, 4, 5, 6, 7);
#endif
}

INLINE float sum_of_lanes(lanes x) {
    four_lanes y = fold_to_four(x);
    return (y[0] + y[2]) + (y[1] + y[3]);
}

/// `sum_of_lanes` of each of four vectors, by the same additions.
INLINE four_lanes sums_of_lanes(const lanes x[4]) {
    four_lanes y0 = fold_to_four(x[0]), y1 = fold_to_four(x[1]), y2 = fold_to_four(x[2]),
               y3 = fold_to_four(x[3]);
    four_lanes y01 =
        __builtin_shufflevector(y0, y1, 0, 1, 4, 5) + __builtin_shufflevector(y0, y1, 2, 3, 6, 7);
    four_lanes y23 =
        __builtin_shufflevector(y2, y3, 0, 1, 4, 5) + __builtin_shufflevector(y2, y3, 2, 3, 6, 7);
    return __builtin_shufflevector(y01, y23, 0, 2, 4, 6) + __builtin_shufflevector(y01, y23, 1, 3, 5, 7);
}

static float exp_sum(float *x, size_t count, float shift) {
    lanes sum[2] = {{0}, {0}};
    size_t i = 0;
    for (; i + 2 * LANES <= count; i += 2 * LANES)
        UNROLL for (int v = 0; v < 2; v++) {
            lanes e = exp_lanes(load(x + i + (size_t)v * LANES) - shift);
            store(x + i + (size_t)v * LANES, e);
            sum[v] += e;
        }
    for (; i < count; i += LANES) {
        size_t part = count - i < LANES ? count - i : LANES;
        store_part(x + i, exp_lanes(load_part(x + i, part) - shift), part);
        // Loaded again: the lanes that the vector lacks add 0. Each element has its lane by its index alone, so that
        // elements of weight 0 behind the last leave the sum's bits as they are: padding changes nothing.
        sum[i / LANES % 2] += load_part(x + i, part);
    }
    return sum_of_lanes(sum[0] + sum[1]);
}

// MARK: - Tiles

typedef enum { PRODUCT, SQUARED_DISTANCE, ABSOLUTE_DISTANCE, ADDITIVE } operation;

INLINE lanes accumulate(operation op, lanes sum, lanes a, lanes b, lanes weight) {
    switch (op) {
    case PRODUCT: return __builtin_elementwise_fma(a, b, sum);
    case SQUARED_DISTANCE: return __builtin_elementwise_fma(a - b, a - b, sum);
    case ABSOLUTE_DISTANCE: return __builtin_elementwise_fma(magnitude(a - b), weight, sum);
    case ADDITIVE: return __builtin_elementwise_fma(weight, tanh_lanes(a + b), sum);
    }
}

/// As a product with 1, an addition of absolute values has the same bits, and leaves the units for additions to the
/// subtractions. Volatile, since a compiler that knows the number makes an addition of it.
static const volatile float one = 1;

/// Vectors of a block of one row: as many sums as hide the latency of one, with two of them begun in a cycle.
enum { SINGLE_ROW_VECTORS = 8 };

/// One block of a tile: `block_rows` rows of `vectors` vectors, both constants, kept in registers over the
/// whole depth. Where `vectors` is 1, only the first `part` columns are read and written. The sums begin with
/// what stands at `start`, or with 0 if that is NULL.
INLINE void block(operation op, const float *start, size_t start_stride, const int block_rows,
                  const int vectors, size_t part, float *out, size_t out_stride, const float *a,
                  size_t a_stride, const float *b, size_t b_stride, size_t depth, const float *weights) {
    lanes sum[TILE_ROWS][SINGLE_ROW_VECTORS];
    UNROLL for (int r = 0; r < block_rows; r++)
        UNROLL for (int v = 0; v < vectors; v++) {
            const float *first = start + (size_t)r * start_stride + (size_t)v * LANES;
            sum[r][v] = start == NULL ? (lanes){0} : vectors == 1 ? load_part(first, part) : load(first);
        }
    const lanes unit = broadcast(op == ABSOLUTE_DISTANCE ? one : 0);
    for (size_t k = 0; k < depth; k++) {
        lanes row[SINGLE_ROW_VECTORS];
        UNROLL for (int v = 0; v < vectors; v++) {
            const float *start = b + k * b_stride + (size_t)v * LANES;
            row[v] = vectors == 1 ? load_part(start, part) : load(start);
        }
        lanes weight = op == ADDITIVE ? broadcast(weights[k]) : unit;
        UNROLL for (int r = 0; r < block_rows; r++) {
            lanes left = broadcast(a[(size_t)r * a_stride + k]);
            UNROLL for (int v = 0; v < vectors; v++)
                sum[r][v] = accumulate(op, sum[r][v], left, row[v], weight);
        }
    }
    UNROLL for (int r = 0; r < block_rows; r++)
        UNROLL for (int v = 0; v < vectors; v++) {
            float *start = out + (size_t)r * out_stride + (size_t)v * LANES;
            if (vectors == 1)
                store_part(start, sum[r][v], part);
            else
                store(start, sum[r][v]);
        }
}

/// All rows of a panel of `vectors` vectors of columns.
INLINE void panel(operation op, const float *start, size_t start_stride, const int vectors, size_t part,
                  float *out, size_t out_stride, const float *a, size_t a_stride, const float *b,
                  size_t b_stride, size_t rows, size_t depth, const float *weights) {
#define BLOCK(n) \
    block(op, start, start_stride, n, vectors, part, out, out_stride, a, a_stride, b, b_stride, depth, weights)
    for (; rows >= TILE_ROWS; rows -= TILE_ROWS) {
        BLOCK(TILE_ROWS);
        out += TILE_ROWS * out_stride;
        a += TILE_ROWS * a_stride;
        if (start != NULL) start += TILE_ROWS * start_stride;
    }
    WITH_CONSTANT(BLOCK, rows)
#undef BLOCK
}

INLINE void tile(operation op, const float *start, size_t start_stride, const int vectors, float *out,
                 size_t out_stride, const float *a, size_t a_stride, const float *b, size_t b_stride,
                 size_t rows, size_t columns, size_t depth, const float *weights) {
    size_t c = 0;
#define START (start == NULL ? NULL : start + c)
    if (vectors > 1) {
        for (; rows == 1 && c + SINGLE_ROW_VECTORS * LANES <= columns; c += SINGLE_ROW_VECTORS * LANES)
            block(op, START, start_stride, 1, SINGLE_ROW_VECTORS, 0, out + c, out_stride, a, a_stride, b + c,
                  b_stride, depth, weights);
        for (; c + (size_t)vectors * LANES <= columns; c += (size_t)vectors * LANES)
            panel(op, START, start_stride, vectors, 0, out + c, out_stride, a, a_stride, b + c, b_stride, rows,
                  depth, weights);
    }
    for (; c < columns; c += LANES) {
        size_t part = columns - c < LANES ? columns - c : LANES;
        panel(op, START, start_stride, 1, part, out + c, out_stride, a, a_stride, b + c, b_stride, rows, depth,
              weights);
    }
#undef START
}

static void tile_product(const float *start, size_t start_stride, float *out, size_t out_stride,
                         const float *a, size_t a_stride, const float *b, size_t b_stride, size_t rows,
                         size_t columns, size_t depth) {
    tile(PRODUCT, start, start_stride, TILE_VECTORS, out, out_stride, a, a_stride, b, b_stride, rows, columns,
         depth, NULL);
}

static void product(float *out, size_t out_stride, const float *a, size_t a_stride, const float *b,
                    size_t b_stride, size_t rows, size_t columns, size_t depth) {
    tile_product(NULL, 0, out, out_stride, a, a_stride, b, b_stride, rows, columns, depth);
}

static void product_add(float *out, size_t out_stride, const float *a, size_t a_stride, const float *b,
                        size_t b_stride, size_t rows, size_t columns, size_t depth) {
    tile_product(out, out_stride, out, out_stride, a, a_stride, b, b_stride, rows, columns, depth);
}

static void product_packed(float *out, size_t out_stride, const float *start, size_t start_stride,
                           const float *a, size_t a_stride, const float *panels, size_t panel_stride,
                           size_t rows, size_t columns, size_t depth) {
    enum { WIDTH = TILE_VECTORS * LANES };
    // A few rows of `a` stay in the first-level cache while the panels pass by.
    for (size_t r = 0; r < rows; r += TILE_ROWS)
        for (size_t c = 0; c < columns; c += WIDTH)
            tile_product(start == NULL ? NULL : start + r * start_stride + c, start_stride,
                         out + r * out_stride + c, out_stride, a + r * a_stride, a_stride,
                         panels + c / WIDTH * panel_stride, WIDTH, rows - r < TILE_ROWS ? rows - r : TILE_ROWS,
                         columns - c < WIDTH ? columns - c : WIDTH, depth);
}

static void squared_distance(float *out, size_t out_stride, const float *a, size_t a_stride, const float *b,
                             size_t b_stride, size_t rows, size_t columns, size_t depth) {
    tile(SQUARED_DISTANCE, NULL, 0, TILE_VECTORS, out, out_stride, a, a_stride, b, b_stride, rows, columns,
         depth, NULL);
}

static void absolute_distance(float *out, size_t out_stride, const float *a, size_t a_stride, const float *b,
                              size_t b_stride, size_t rows, size_t columns, size_t depth) {
    tile(ABSOLUTE_DISTANCE, NULL, 0, TILE_VECTORS, out, out_stride, a, a_stride, b, b_stride, rows, columns,
         depth, NULL);
}

static void additive(float *out, size_t out_stride, const float *a, size_t a_stride, const float *b,
                     size_t b_stride, size_t rows, size_t columns, size_t depth, const float *weights) {
    // One vector of columns: tanh needs the other registers.
    tile(ADDITIVE, NULL, 0, 1, out, out_stride, a, a_stride, b, b_stride, rows, columns, depth, weights);
}

// MARK: - Products of rows with rows

/// One block: `block_rows` rows and `quads` times four columns, both constants. The first `part` columns are
/// written.
INLINE void dot_block(const int block_rows, const int quads, size_t part, float *out, size_t out_stride,
                      const float *a, size_t a_stride, const float *b, size_t b_stride, size_t depth) {
    lanes sum[DOT_ROWS][8];
    const float *column[8];
    UNROLL for (int c = 0; c < 4 * quads; c++) {
        // Columns that are not there repeat the first.
        column[c] = (size_t)c < part ? b + (size_t)c * b_stride : b;
        UNROLL for (int r = 0; r < block_rows; r++)
            sum[r][c] = (lanes){0};
    }
    size_t k = 0;
    for (; k + LANES <= depth; k += LANES) {
        lanes left[DOT_ROWS];
        UNROLL for (int r = 0; r < block_rows; r++)
            left[r] = load(a + (size_t)r * a_stride + k);
        UNROLL for (int c = 0; c < 4 * quads; c++) {
            lanes right = load(column[c] + k);
            UNROLL for (int r = 0; r < block_rows; r++)
                sum[r][c] = __builtin_elementwise_fma(left[r], right, sum[r][c]);
        }
    }
    if (k < depth)
        UNROLL for (int c = 0; c < 4 * quads; c++) {
            lanes right = load_part(column[c] + k, depth - k);
            UNROLL for (int r = 0; r < block_rows; r++)
                sum[r][c] = __builtin_elementwise_fma(load_part(a + (size_t)r * a_stride + k, depth - k),
                                                      right, sum[r][c]);
        }
    UNROLL for (int r = 0; r < block_rows; r++)
        UNROLL for (int q = 0; q < quads; q++) {
            four_lanes sums = sums_of_lanes(&sum[r][4 * q]);
            float *start = out + (size_t)r * out_stride + (size_t)q * 4;
            if (part >= (size_t)q * 4 + 4)
                memcpy(start, &sums, sizeof sums);
            else
                for (size_t c = 0; c + (size_t)q * 4 < part; c++) start[c] = sums[c];
        }
}

static void dot_rows(float *out, size_t out_stride, const float *a, size_t a_stride, const float *b,
                     size_t b_stride, size_t rows, size_t columns, size_t depth) {
#define BLOCK(n, quads, part) \
    dot_block(n, quads, part, out + r * out_stride + c, out_stride, a + r * a_stride, a_stride, \
              b + c * b_stride, b_stride, depth)
    size_t c = 0;
    for (; rows == 1 && c + 8 <= columns; c += 8) {
        const size_t r = 0;
        BLOCK(1, 2, 8);
    }
    for (; c < columns; c += 4) {
        size_t part = columns - c < 4 ? columns - c : 4;
        size_t r = 0;
        for (; r + DOT_ROWS <= rows; r += DOT_ROWS) BLOCK(DOT_ROWS, 1, part);
        switch (rows - r) {
        case 1: BLOCK(1, 1, part); break;
        case 2: BLOCK(2, 1, part); break;
        case 3: BLOCK(3, 1, part); break;
        }
    }
#undef BLOCK
}

// MARK: - Stored weights

INLINE lanes lanes_from_float16(const uint8_t *source) {
    half_lanes x;
    memcpy(&x, source, sizeof x);
    return __builtin_convertvector(x, lanes);
}

INLINE lanes lanes_from_bfloat16(const uint8_t *source) {
    uint16_lanes x;
    memcpy(&x, source, sizeof x);
    return (lanes)(__builtin_convertvector(x, uint_lanes) << 16);
}

INLINE uint16_lanes float16_from_lanes(lanes x) {
    return (uint16_lanes)__builtin_convertvector(x, half_lanes);
}

INLINE uint16_lanes bfloat16_from_lanes(lanes x) {
    uint_lanes bits = (uint_lanes)x;
    uint_lanes rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16;
    uint_lanes quiet = bits >> 16 | 0x40;  // NaN
    uint_lanes number = (uint_lanes)(x == x);
    return __builtin_convertvector((rounded & number) | (quiet & ~number), uint16_lanes);
}

INLINE float float_from_float16(const uint8_t *source) {
    _Float16 x;
    memcpy(&x, source, sizeof x);
    return (float)x;
}

INLINE lanes lanes_from_int8(const uint8_t *source) {
    int8_lanes x;
    memcpy(&x, source, sizeof x);
    return __builtin_convertvector(x, lanes);
}

/// Applies lanes_from(source) to `count` elements of 2 bytes; the last ones by way of whole vectors.
#define DECODE_EACH(lanes_from) \
    do { \
        size_t i = 0; \
        for (; i + LANES <= count; i += LANES) store(out + i, lanes_from(bytes + 2 * i)); \
        if (i < count) { \
            uint8_t local[2 * LANES] = {0}; \
            memcpy(local, bytes + 2 * i, 2 * (count - i)); \
            store_part(out + i, lanes_from(local), count - i); \
        } \
    } while (0)

#define ENCODE_EACH(from_lanes) \
    do { \
        size_t i = 0; \
        for (; i + LANES <= count; i += LANES) { \
            uint16_lanes encoded = from_lanes(load(x + i)); \
            memcpy(out + i, &encoded, sizeof encoded); \
        } \
        if (i < count) { \
            uint16_lanes encoded = from_lanes(load_part(x + i, count - i)); \
            memcpy(out + i, &encoded, 2 * (count - i)); \
        } \
    } while (0)

static void decode(float *out, const void *source, sattn_weight_type type, size_t count) {
    const uint8_t *bytes = source;
    switch (type) {
    case SATTN_FLOAT32:
        if (count > 0) memcpy(out, source, count * sizeof *out);
        break;
    case SATTN_FLOAT16: DECODE_EACH(lanes_from_float16); break;
    case SATTN_BFLOAT16: DECODE_EACH(lanes_from_bfloat16); break;
    case SATTN_Q8_0:
        for (size_t i = 0; i < count; i += 32, bytes += 34) {
            lanes d = broadcast(float_from_float16(bytes));
            UNROLL for (size_t j = 0; j < 32; j += LANES)
                store(out + i + j, d * lanes_from_int8(bytes + 2 + j));
        }
        break;
    case SATTN_Q4_0:
        for (size_t i = 0; i < count; i += 32, bytes += 18) {
            lanes d = broadcast(float_from_float16(bytes));
            UNROLL for (size_t j = 0; j < 16; j += LANES) {
                uint8_lanes pairs;
                memcpy(&pairs, bytes + 2 + j, sizeof pairs);
                store(out + i + j, d * (__builtin_convertvector(pairs & 15, lanes) - 8));
                store(out + i + j + 16, d * (__builtin_convertvector(pairs >> 4, lanes) - 8));
            }
        }
        break;
    case SATTN_Q4_1:
        for (size_t i = 0; i < count; i += 32, bytes += 20) {
            lanes d = broadcast(float_from_float16(bytes));
            lanes m = broadcast(float_from_float16(bytes + 2));
            UNROLL for (size_t j = 0; j < 16; j += LANES) {
                uint8_lanes pairs;
                memcpy(&pairs, bytes + 4 + j, sizeof pairs);
                store(out + i + j, d * __builtin_convertvector(pairs & 15, lanes) + m);
                store(out + i + j + 16, d * __builtin_convertvector(pairs >> 4, lanes) + m);
            }
        }
        break;
    }
}

static void encode_float16(uint16_t *out, const float *x, size_t count) {
    ENCODE_EACH(float16_from_lanes);
}

static void encode_bfloat16(uint16_t *out, const float *x, size_t count) {
    ENCODE_EACH(bfloat16_from_lanes);
}

#include "decode_attention.h"
#include "flash.h"
#include "products.h"
#include "gradients.h"

// MARK: - Quantised activations

static void quantize(int8_t *quants, float *scales, float *sums, const float *x, size_t count) {
    const size_t length = SATTN_ACTIVATION_BLOCK;
    for (size_t b = 0; b < count / length; b++, x += length, quants += length) {
        // As integers, the bits of magnitudes are in the order of the numbers, then ∞, then NaN.
        uint_lanes largest = {0};
        UNROLL for (size_t i = 0; i < length; i += LANES)
            largest = __builtin_elementwise_max(largest, (uint_lanes)magnitude(load(x + i)));
        uint32_t bits = __builtin_reduce_max(largest);
        float top;
        memcpy(&top, &bits, sizeof top);
        bool is_finite = bits < 0x7F800000, is_zero = top < 0x1p-100f;
        float factor = is_finite && !is_zero ? 127 / top : 0;
        scales[b] = is_finite ? (is_zero ? 0 : top / 127) : __builtin_nanf("");
        int_lanes total = {0};
        UNROLL for (size_t i = 0; i < length; i += LANES) {
            // Adding 1.5 · 2²³ rounds to an integer and leaves it in the low bits.
            lanes scaled = is_finite ? load(x + i) * factor : (lanes){0};
            int_lanes rounded = (int_lanes)(scaled + 0x1.8p23f) - 0x4B400000;
            total += rounded;
            int8_lanes bytes = __builtin_convertvector(rounded, int8_lanes);
            memcpy(quants + i, &bytes, sizeof bytes);
        }
        sums[b] = scales[b] * (float)__builtin_reduce_add(total);
    }
}

// MARK: - Table

const sattn_kernels TABLE = {
    .name = TABLE_NAME,
    .product = product,
    .product_add = product_add,
    .tile_columns = TILE_VECTORS * LANES,
    .product_packed = product_packed,
    .transpose = transpose,
    .attend = attend,
    .divide_rows = divide_rows,
    .product_transposed = product_transposed,
    .transpose_stored = transpose_stored,
    .bfloat16_rows = TILE_ROWS,
    .product_packed_bfloat16 = product_packed_bfloat16,
    .product_transposed_bfloat16 = product_transposed_bfloat16,
    .squared_distance = squared_distance,
    .absolute_distance = absolute_distance,
    .additive = additive,
    .dot_rows = dot_rows,
    .dot_stored = dot_stored,
    .product_add_stored = product_add_stored,
    .maximum = maximum,
    .exp_sum = exp_sum,
    .scale = scale,
    .soft_cap = soft_cap,
    .divide_and_dot = divide_and_dot,
    .softmax_weights = softmax_weights,
    .score_gradients = score_gradients,
    .keep_between = keep_between,
    .product_gradient = product_gradient,
    .squared_distance_gradient = squared_distance_gradient,
    .absolute_distance_gradient = absolute_distance_gradient,
    .additive_gradient = additive_gradient,
    .normalize = normalize,
    .layer_norm = layer_norm,
    .tanh = tanh_each,
    .sigmoid = sigmoid_each,
    .relu = relu_each,
    .silu = silu_each,
    .gelu = gelu_each,
    .gelu_tanh = gelu_tanh_each,
    .tanh_gradient = tanh_gradient,
    .sigmoid_gradient = sigmoid_gradient,
    .relu_gradient = relu_gradient,
    .silu_gradient = silu_gradient,
    .gelu_gradient = gelu_gradient,
    .gelu_tanh_gradient = gelu_tanh_gradient,
    .add = add,
    .subtract = subtract,
    .multiply = multiply,
    .column_sums = column_sums,
    .sum_of_squares = sum_of_squares,
    .adam_step = adam_step,
    .momentum_step = momentum_step,
    .decode = decode,
    .quantize = quantize,
    .quantized_product = QUANTIZED_PRODUCT,
    .encode_float16 = encode_float16,
    .encode_bfloat16 = encode_bfloat16,
    .lstm_cell = lstm_cell,
    .lstm_cell_gradient = lstm_cell_gradient,
    .gru_cell = gru_cell,
    .gru_cell_gradient = gru_cell_gradient,
};

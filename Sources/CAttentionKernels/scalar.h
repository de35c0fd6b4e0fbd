// The plain loops, written once and included for float and for double by `scalar.c`, which defines
//   REAL       the element type,
//   NAME(x)    the name of function x for this type,
//   EXP, TANH, SQRT
//              the C library's functions for this type,
//   ADAM, MOMENTUM, ATTENTION_TILE
//              the structures of the optimizers' steps and of a step of attention.
//
// Every sum runs over k in ascending order with one accumulator per element. The inner loops run over
// columns, which are independent, so a compiler may use vectors without changing a bit.

static void NAME(clear)(REAL *out, size_t out_stride, size_t rows, size_t columns) {
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < columns; c++) out[r * out_stride + c] = 0;
}

static void NAME(product_add)(REAL *out, size_t out_stride, const REAL *a, size_t a_stride, const REAL *b,
                              size_t b_stride, size_t rows, size_t columns, size_t depth) {
    for (size_t r = 0; r < rows; r++)
        for (size_t k = 0; k < depth; k++) {
            REAL *restrict sum = out + r * out_stride;
            const REAL *restrict row = b + k * b_stride;
            REAL factor = a[r * a_stride + k];
            for (size_t c = 0; c < columns; c++) sum[c] += factor * row[c];
        }
}

static void NAME(product)(REAL *out, size_t out_stride, const REAL *a, size_t a_stride, const REAL *b,
                          size_t b_stride, size_t rows, size_t columns, size_t depth) {
    NAME(clear)(out, out_stride, rows, columns);
    NAME(product_add)(out, out_stride, a, a_stride, b, b_stride, rows, columns, depth);
}

static void NAME(squared_distance)(REAL *out, size_t out_stride, const REAL *a, size_t a_stride,
                                   const REAL *b, size_t b_stride, size_t rows, size_t columns,
                                   size_t depth) {
    NAME(clear)(out, out_stride, rows, columns);
    for (size_t r = 0; r < rows; r++)
        for (size_t k = 0; k < depth; k++) {
            REAL *restrict sum = out + r * out_stride;
            const REAL *restrict row = b + k * b_stride;
            REAL left = a[r * a_stride + k];
            for (size_t c = 0; c < columns; c++) {
                REAL difference = left - row[c];
                sum[c] += difference * difference;
            }
        }
}

static void NAME(absolute_distance)(REAL *out, size_t out_stride, const REAL *a, size_t a_stride,
                                    const REAL *b, size_t b_stride, size_t rows, size_t columns,
                                    size_t depth) {
    NAME(clear)(out, out_stride, rows, columns);
    for (size_t r = 0; r < rows; r++)
        for (size_t k = 0; k < depth; k++) {
            REAL *restrict sum = out + r * out_stride;
            const REAL *restrict row = b + k * b_stride;
            REAL left = a[r * a_stride + k];
            for (size_t c = 0; c < columns; c++) {
                REAL difference = left - row[c];
                sum[c] += difference < 0 ? -difference : difference;
            }
        }
}

static void NAME(additive)(REAL *out, size_t out_stride, const REAL *a, size_t a_stride, const REAL *b,
                           size_t b_stride, size_t rows, size_t columns, size_t depth, const REAL *weights) {
    NAME(clear)(out, out_stride, rows, columns);
    for (size_t r = 0; r < rows; r++)
        for (size_t k = 0; k < depth; k++) {
            REAL *restrict sum = out + r * out_stride;
            const REAL *restrict row = b + k * b_stride;
            REAL left = a[r * a_stride + k];
            for (size_t c = 0; c < columns; c++) sum[c] += weights[k] * TANH(left + row[c]);
        }
}

static void NAME(dot_rows)(REAL *out, size_t out_stride, const REAL *a, size_t a_stride, const REAL *b,
                           size_t b_stride, size_t rows, size_t columns, size_t depth) {
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < columns; c++) {
            REAL sum = 0;
            for (size_t k = 0; k < depth; k++) sum += a[r * a_stride + k] * b[c * b_stride + k];
            out[r * out_stride + c] = sum;
        }
}

static REAL NAME(maximum)(const REAL *x, size_t count) {
    REAL largest = -(REAL)INFINITY;
    for (size_t i = 0; i < count; i++)
        if (x[i] > largest) largest = x[i];
    return largest;
}

static REAL NAME(exp_sum)(REAL *x, size_t count, REAL shift) {
    REAL sum = 0;
    for (size_t i = 0; i < count; i++) {
        x[i] = EXP(x[i] - shift);
        sum += x[i];
    }
    return sum;
}

static void NAME(scale)(REAL *x, size_t count, REAL factor) {
    for (size_t i = 0; i < count; i++) x[i] *= factor;
}

static void NAME(soft_cap)(REAL *x, size_t count, REAL cap) {
    for (size_t i = 0; i < count; i++) x[i] = cap * TANH(x[i] / cap);
}

#include "scalar_gradients.h"

// MARK: - Products with a packed matrix

enum { NAME(TILE_COLUMNS) = 64 };

static void NAME(product_packed)(REAL *out, size_t out_stride, const REAL *start, size_t start_stride,
                                 const REAL *a, size_t a_stride, const REAL *panels, size_t panel_stride,
                                 size_t rows, size_t columns, size_t depth) {
    const size_t width = NAME(TILE_COLUMNS);
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < columns; c++)
            out[r * out_stride + c] = start == NULL ? 0 : start[r * start_stride + c];
    for (size_t c = 0; c < columns; c += width)
        NAME(product_add)(out + c, out_stride, a, a_stride, panels + c / width * panel_stride, width, rows,
                          columns - c < width ? columns - c : width, depth);
}

static void NAME(transpose)(REAL *out, size_t out_stride, const REAL *x, size_t x_stride, size_t rows,
                            size_t columns) {
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < columns; c++) out[c * out_stride + r] = x[r * x_stride + c];
}

static void NAME(attend)(const ATTENTION_TILE *tile) {
    for (size_t r = 0; r < tile->rows; r++) {
        size_t begin = tile->begins == NULL ? 0 : tile->begins[r];
        size_t end = tile->ends == NULL ? tile->keys : tile->ends[r];
        if (begin >= end) continue;
        REAL *scores = tile->scores + (tile->panels == NULL ? r * tile->score_stride : 0);
        REAL *average = tile->averages + r * tile->width;
        if (tile->panels != NULL) {
            for (size_t key = 0; key < end; key += NAME(TILE_COLUMNS))
                (tile->operation == SATTN_PRODUCT            ? NAME(product)
                 : tile->operation == SATTN_SQUARED_DISTANCE ? NAME(squared_distance)
                                                             : NAME(absolute_distance))(
                    scores + key, tile->score_stride, tile->queries + r * tile->query_stride, tile->query_stride,
                    tile->panels + key * tile->depth, NAME(TILE_COLUMNS), 1,
                    end - key < NAME(TILE_COLUMNS) ? end - key : NAME(TILE_COLUMNS), tile->depth);
            NAME(scale)(scores + begin, end - begin, tile->scale);
        }
        REAL before = tile->maxima[r], now = NAME(maximum)(scores + begin, end - begin);
        now = now > before ? now : before;
        // A query that sees nothing so far has maximum -∞, and -∞ - (-∞) is NaN: it begins at 0.
        REAL shift = now == -(REAL)INFINITY ? 0 : now;
        REAL sum = NAME(exp_sum)(scores + begin, end - begin, shift);
        if (now > before) {
            REAL kept = EXP(before - shift);
            tile->sums[r] *= kept;
            NAME(scale)(average, tile->width, kept);
        }
        tile->sums[r] += sum;
        tile->maxima[r] = now;
        if (tile->values != NULL)
            NAME(product_add)(average, tile->width, scores + begin, tile->score_stride,
                              tile->values + begin * tile->value_stride, tile->value_stride, 1, tile->width,
                              end - begin);
    }
}

static void NAME(divide_rows)(REAL *out, size_t out_stride, const REAL *x, size_t x_stride, const REAL *divisors,
                              size_t rows, size_t columns) {
    for (size_t r = 0; r < rows; r++) {
        REAL factor = 1 / divisors[r];
        for (size_t c = 0; c < columns; c++) out[r * out_stride + c] = factor * x[r * x_stride + c];
    }
}

static void NAME(product_transposed)(REAL *out, size_t out_stride, const REAL *start, size_t start_stride,
                                     const REAL *a, size_t a_stride, const REAL *b, size_t b_stride, size_t rows,
                                     size_t columns, size_t depth) {
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < columns; c++) {
            REAL sum = start == NULL ? 0 : start[r * start_stride + c];
            for (size_t k = 0; k < depth; k++) sum += a[r * a_stride + k] * b[c * b_stride + k];
            out[r * out_stride + c] = sum;
        }
}

static void NAME(column_sums)(REAL *sum, const REAL *x, size_t x_stride, size_t rows, size_t columns) {
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < columns; c++) sum[c] += x[r * x_stride + c];
}

// MARK: - Functions of each element

static REAL NAME(sigmoid)(REAL x) {
    return 1 / (1 + EXP(-x));
}

/// `x`, from -bound to bound, beyond which a function has reached its limit: ∞ · 0 would be NaN.
static REAL NAME(bounded)(REAL x, REAL bound) {
    return x < -bound ? -bound : x > bound ? bound : x;
}

/// The standard normal distribution up to x. erfc keeps the digits of small tails, where 1 + erf would cancel.
static REAL NAME(normal)(REAL x) {
    return (REAL)(0.5 * erfc(-(double)x * 0.70710678118654752));
}

static REAL NAME(silu_slope)(REAL x) {
    x = NAME(bounded)(x, 1000);
    REAL s = NAME(sigmoid)(x);
    return s + x * s * (1 - s);
}

static REAL NAME(gelu_slope)(REAL x) {
    x = NAME(bounded)(x, 40);
    return NAME(normal)(x) + x * (REAL)0.39894228040143268 * EXP(-x * x / 2);
}

static REAL NAME(gelu_tanh_argument)(REAL x) {
    return (REAL)1.5957691216057308 * (x + (REAL)0.044715 * x * x * x);  // 2 √(2/π)
}

static REAL NAME(gelu_tanh_slope)(REAL x) {
    x = NAME(bounded)(x, 40);
    REAL s = NAME(sigmoid)(NAME(gelu_tanh_argument)(x));
    return s + x * s * (1 - s) * (REAL)1.5957691216057308 * (1 + (REAL)0.134145 * x * x);
}

#define EACH(name, value) \
    static void NAME(name)(REAL *out, const REAL *x, size_t count) { \
        for (size_t i = 0; i < count; i++) out[i] = value; \
    }
EACH(tanh_each, TANH(x[i]))
EACH(sigmoid_each, NAME(sigmoid)(x[i]))
EACH(relu_each, x[i] <= 0 ? 0 : x[i])
// -∞ itself would be -∞/∞; far above it exp(-x) is ∞ and the result 0.
EACH(silu_each, (x[i] < -1000 ? -1000 : x[i]) * NAME(sigmoid)(x[i]))
EACH(gelu_each, (x[i] < -40 ? -40 : x[i]) * NAME(normal)(x[i]))
// (1 + tanh u) / 2 = 1 / (1 + exp(-2u)), which does not cancel where u is negative.
EACH(gelu_tanh_each, (x[i] < -40 ? -40 : x[i]) * NAME(sigmoid)(NAME(gelu_tanh_argument)(x[i])))
#undef EACH

#define EACH(name, value) \
    static void NAME(name)(REAL *out, const REAL *x, const REAL *y, size_t count) { \
        for (size_t i = 0; i < count; i++) out[i] = value; \
    }
EACH(add, x[i] + y[i])
EACH(subtract, x[i] - y[i])
EACH(multiply, x[i] * y[i])
EACH(tanh_gradient, y[i] * (1 - x[i] * x[i]))
EACH(sigmoid_gradient, y[i] * (x[i] * (1 - x[i])))
EACH(relu_gradient, x[i] > 0 ? y[i] : 0)
EACH(silu_gradient, y[i] * NAME(silu_slope)(x[i]))
EACH(gelu_gradient, y[i] * NAME(gelu_slope)(x[i]))
EACH(gelu_tanh_gradient, y[i] * NAME(gelu_tanh_slope)(x[i]))
#undef EACH

// MARK: - Steps of optimizers

static double NAME(sum_of_squares)(const REAL *x, size_t count) {
    double sum = 0;
    for (size_t i = 0; i < count; i++) sum += (double)x[i] * (double)x[i];
    return sum;
}

static void NAME(adam_step)(REAL *parameter, const REAL *gradient, REAL *first, REAL *second, size_t count,
                            const ADAM *step) {
    for (size_t i = 0; i < count; i++) {
        REAL g = step->gradient_scale * gradient[i] + step->added_decay * parameter[i];
        first[i] += step->first_share * (g - first[i]);
        second[i] = step->second_kept * second[i] + step->second_share * g * g;
        REAL deviation = SQRT(second[i]) * step->inverse_root_correction + step->epsilon;
        parameter[i] = step->kept * parameter[i] - step->step_size * first[i] / deviation;
    }
}

static void NAME(momentum_step)(REAL *parameter, const REAL *gradient, REAL *velocity, size_t count,
                                const MOMENTUM *step) {
    for (size_t i = 0; i < count; i++) {
        REAL g = step->gradient_scale * gradient[i] + step->added_decay * parameter[i];
        if (velocity != NULL) {
            velocity[i] = step->momentum * velocity[i] + g;
            g = step->is_nesterov ? g + step->momentum * velocity[i] : velocity[i];
        }
        parameter[i] -= step->learning_rate * g;
    }
}

// MARK: - Steps of recurrent layers

static void NAME(lstm_cell)(REAL *gates, size_t gate_stride, const REAL *previous_cell, REAL *cell,
                            REAL *output, size_t count) {
    for (size_t u = 0; u < count; u++) {
        REAL i = NAME(sigmoid)(gates[u]), f = NAME(sigmoid)(gates[gate_stride + u]);
        REAL g = TANH(gates[2 * gate_stride + u]), o = NAME(sigmoid)(gates[3 * gate_stride + u]);
        gates[u] = i;
        gates[gate_stride + u] = f;
        gates[2 * gate_stride + u] = g;
        gates[3 * gate_stride + u] = o;
        cell[u] = f * previous_cell[u] + i * g;
        output[u] = o * TANH(cell[u]);
    }
}

static void NAME(lstm_cell_gradient)(REAL *gate_gradients, REAL *cell_gradient, const REAL *output_gradient,
                                     const REAL *gates, size_t gate_stride, const REAL *previous_cell,
                                     const REAL *cell, size_t count) {
    for (size_t u = 0; u < count; u++) {
        REAL i = gates[u], f = gates[gate_stride + u];
        REAL g = gates[2 * gate_stride + u], o = gates[3 * gate_stride + u];
        // forward: output = o · tanh(cell)
        REAL released = TANH(cell[u]);
        REAL of_cell = cell_gradient[u] + output_gradient[u] * o * (1 - released * released);
        gate_gradients[3 * gate_stride + u] = output_gradient[u] * released * (o * (1 - o));
        // forward: cell = f · previous_cell + i · g
        gate_gradients[u] = of_cell * g * (i * (1 - i));
        gate_gradients[gate_stride + u] = of_cell * previous_cell[u] * (f * (1 - f));
        gate_gradients[2 * gate_stride + u] = of_cell * i * (1 - g * g);
        cell_gradient[u] = of_cell * f;
    }
}

static void NAME(gru_cell)(REAL *gates, size_t gate_stride, const REAL *terms, const REAL *previous,
                           REAL *output, size_t count) {
    for (size_t u = 0; u < count; u++) {
        REAL r = NAME(sigmoid)(gates[u]), z = NAME(sigmoid)(gates[gate_stride + u]);
        REAL n = TANH(gates[2 * gate_stride + u] + r * terms[u]);
        gates[u] = r;
        gates[gate_stride + u] = z;
        gates[2 * gate_stride + u] = n;
        output[u] = n + z * (previous[u] - n);
    }
}

static void NAME(gru_cell_gradient)(REAL *gate_gradients, REAL *term_gradients, REAL *state_gradient,
                                    const REAL *output_gradient, const REAL *gates, size_t gate_stride,
                                    const REAL *terms, const REAL *previous, size_t count) {
    for (size_t u = 0; u < count; u++) {
        REAL r = gates[u], z = gates[gate_stride + u], n = gates[2 * gate_stride + u];
        // forward: output = n + z · (previous - n)
        REAL gradient = output_gradient[u] + state_gradient[u];
        REAL of_candidate = gradient * (1 - z) * (1 - n * n);
        gate_gradients[gate_stride + u] = gradient * (previous[u] - n) * (z * (1 - z));
        gate_gradients[2 * gate_stride + u] = of_candidate;
        state_gradient[u] = gradient * z;
        // forward: n = tanh(… + r · terms)
        gate_gradients[u] = of_candidate * terms[u] * (r * (1 - r));
        term_gradients[u] = of_candidate * r;
    }
}

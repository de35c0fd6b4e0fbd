// The plain loops, written once and included for float and for double by `scalar.c`, which defines
//   REAL       the element type,
//   NAME(x)    the name of function x for this type,
//   EXP, TANH  the C library's functions for this type.
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

// The way back through attention in plain loops; `scalar.h` includes it for float and for double.

static void NAME(divide_and_dot)(REAL *out, REAL *dots, const REAL *x, size_t x_stride, const REAL *y,
                                 size_t y_stride, const REAL *divisors, size_t rows, size_t columns) {
    for (size_t r = 0; r < rows; r++) {
        dots[r] = 0;
        for (size_t c = 0; c < columns; c++) {
            out[r * columns + c] = x[r * x_stride + c] / divisors[r];
            dots[r] += out[r * columns + c] * y[r * y_stride + c];
        }
    }
}

static void NAME(softmax_weights)(REAL *x, size_t rows, size_t columns, REAL factor, const REAL *shifts) {
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < columns; c++) {
            REAL score = factor * x[r * columns + c];
            x[r * columns + c] = EXP(score - shifts[c]);
        }
}

static void NAME(score_gradients)(REAL *gradient, const REAL *weight, size_t rows, size_t columns,
                                  const REAL *deltas) {
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < columns; c++)
            gradient[r * columns + c] = weight[r * columns + c] * (gradient[r * columns + c] - deltas[c]);
}

static void NAME(keep_between)(REAL *x, size_t rows, size_t columns, const int32_t *begins, const int32_t *ends,
                               REAL hidden) {
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < columns; c++)
            if ((int32_t)r < begins[c] || (int32_t)r >= ends[c]) x[r * columns + c] = hidden;
}

static void NAME(product_gradient)(REAL *out, size_t out_stride, const REAL *gradient, size_t row_step,
                                   size_t depth_step, const REAL *b, size_t b_stride, size_t rows, size_t columns,
                                   size_t depth) {
    for (size_t r = 0; r < rows; r++)
        for (size_t k = 0; k < depth; k++) {
            REAL *restrict sum = out + r * out_stride;
            const REAL *restrict row = b + k * b_stride;
            REAL factor = gradient[r * row_step + k * depth_step];
            for (size_t c = 0; c < columns; c++) sum[c] += factor * row[c];
        }
}

static void NAME(squared_distance_gradient)(REAL *out, size_t out_stride, const REAL *gradient, size_t row_step,
                                            size_t depth_step, const REAL *a, size_t a_stride, const REAL *b,
                                            size_t b_stride, size_t rows, size_t columns, size_t depth) {
    for (size_t r = 0; r < rows; r++)
        for (size_t k = 0; k < depth; k++) {
            REAL *restrict sum = out + r * out_stride;
            const REAL *restrict own = a + r * a_stride;
            const REAL *restrict row = b + k * b_stride;
            REAL factor = gradient[r * row_step + k * depth_step];
            for (size_t c = 0; c < columns; c++) sum[c] += factor * (own[c] - row[c]);
        }
}

static void NAME(absolute_distance_gradient)(REAL *out, size_t out_stride, const REAL *gradient, size_t row_step,
                                             size_t depth_step, const REAL *a, size_t a_stride, const REAL *b,
                                             size_t b_stride, size_t rows, size_t columns, size_t depth) {
    for (size_t r = 0; r < rows; r++)
        for (size_t k = 0; k < depth; k++) {
            REAL *restrict sum = out + r * out_stride;
            const REAL *restrict own = a + r * a_stride;
            const REAL *restrict row = b + k * b_stride;
            REAL factor = gradient[r * row_step + k * depth_step];
            for (size_t c = 0; c < columns; c++) sum[c] += factor * (REAL)((own[c] > row[c]) - (own[c] < row[c]));
        }
}

static void NAME(additive_gradient)(REAL *query_sums, REAL *key_sums, REAL *weight_sums, const REAL *gradient,
                                    const REAL *queries, size_t query_stride, const REAL *keys, size_t key_stride,
                                    size_t query_count, size_t key_count, size_t features) {
    for (size_t k = 0; k < key_count; k++)
        for (size_t q = 0; q < query_count; q++) {
            REAL factor = gradient[k * query_count + q];
            if (factor == 0) continue;
            for (size_t f = 0; f < features; f++) {
                REAL hidden = TANH(queries[q * query_stride + f] + keys[k * key_stride + f]);
                query_sums[q * features + f] += factor * (1 - hidden * hidden);
                key_sums[k * features + f] += factor * (1 - hidden * hidden);
                weight_sums[f] += factor * hidden;
            }
        }
}

static void NAME(normalize)(REAL *out, const REAL *x, size_t count) {
    double squares = 0;
    for (size_t i = 0; i < count; i++) squares += (double)x[i] * (double)x[i];
    double norm = sqrt(squares);
    for (size_t i = 0; i < count; i++) out[i] = norm == 0 ? 0 : (REAL)((double)x[i] / norm);
}

static void NAME(layer_norm)(REAL *out, const REAL *x, const REAL *weight, const REAL *bias, size_t count,
                             double epsilon, double *statistics) {
    double sum = 0, squares = 0;
    for (size_t i = 0; i < count; i++) sum += (double)x[i];
    double mean = sum / (double)count;
    for (size_t i = 0; i < count; i++) squares += ((double)x[i] - mean) * ((double)x[i] - mean);
    double factor = 1 / sqrt(squares / (double)count + epsilon);
    for (size_t i = 0; i < count; i++) {
        REAL scaled = (REAL)(((double)x[i] - mean) * factor) * weight[i];
        out[i] = bias ? scaled + bias[i] : scaled;
    }
    statistics[0] = mean;
    statistics[1] = factor;
}

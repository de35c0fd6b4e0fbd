// The way back through attention, in vectors of LANES floats; `vector.h` includes it.

// MARK: - Weights and their gradients

static void divide_and_dot(float *out, float *dots, const float *x, size_t x_stride, const float *y,
                           size_t y_stride, const float *divisors, size_t rows, size_t columns) {
    for (size_t r = 0; r < rows; r++) {
        lanes factor = broadcast(1 / divisors[r]), sum = {0};
        for (size_t c = 0; c < columns; c += LANES) {
            size_t part = columns - c < LANES ? columns - c : LANES;
            lanes quotient = factor * load_part(x + r * x_stride + c, part);
            store_part(out + r * columns + c, quotient, part);
            sum = __builtin_elementwise_fma(quotient, load_part(y + r * y_stride + c, part), sum);
        }
        dots[r] = sum_of_lanes(sum);
    }
}

static void softmax_weights(float *x, size_t rows, size_t columns, float factor, const float *shifts) {
    for (size_t c = 0; c < columns; c += LANES) {
        size_t part = columns - c < LANES ? columns - c : LANES;
        lanes shift = load_part(shifts + c, part);
        float *place = x + c;
        for (size_t r = 0; r < rows; r++, place += columns)
            store_part(place, exp_below(factor * load_part(place, part) - shift), part);
    }
}

static void score_gradients(float *gradient, const float *weight, size_t rows, size_t columns,
                            const float *deltas) {
    for (size_t c = 0; c < columns; c += LANES) {
        size_t part = columns - c < LANES ? columns - c : LANES;
        lanes delta = load_part(deltas + c, part);
        for (size_t r = 0; r < rows; r++) {
            float *place = gradient + r * columns + c;
            store_part(place, load_part(weight + r * columns + c, part) * (load_part(place, part) - delta), part);
        }
    }
}

static void keep_between(float *x, size_t rows, size_t columns, const int32_t *begins, const int32_t *ends,
                         float hidden) {
    for (size_t c = 0; c < columns; c += LANES) {
        size_t part = columns - c < LANES ? columns - c : LANES;
        // A whole vector of them may end behind the last.
        int_lanes begin = {0}, end = {0};
        memcpy(&begin, begins + c, sizeof(int32_t) * part);
        memcpy(&end, ends + c, sizeof(int32_t) * part);
        for (size_t r = 0; r < rows; r++) {
            float *place = x + r * columns + c;
            int_lanes row = (int32_t)r - (int_lanes){0};
            store_part(place, choose((row >= begin) & (row < end), load_part(place, part), broadcast(hidden)), part);
        }
    }
}

// MARK: - Sums over a tile of score gradients

#ifndef SIGN
/// -1, 0 or 1.
INLINE lanes sign(lanes x) {
    return (lanes)((((int_lanes)x & INT32_MIN) | 0x3F800000) & (x != 0));
}
#endif

typedef enum { OF_PRODUCT, OF_SQUARED_DISTANCE, OF_ABSOLUTE_DISTANCE } derivative;

INLINE lanes add_derivative(derivative of, lanes sum, lanes gradient, lanes a, lanes b) {
    switch (of) {
    case OF_PRODUCT: return __builtin_elementwise_fma(gradient, b, sum);
    case OF_SQUARED_DISTANCE: return __builtin_elementwise_fma(gradient, a - b, sum);
    case OF_ABSOLUTE_DISTANCE: return __builtin_elementwise_fma(gradient, sign(a - b), sum);
    }
}

/// One block: `block_rows` rows of `vectors` vectors, both constants, whose last has `part` lanes.
INLINE void gradient_block(derivative of, const int block_rows, const int vectors, size_t part, float *out,
                           size_t out_stride, const float *gradient, size_t row_step, size_t depth_step,
                           const float *a, size_t a_stride, const float *b, size_t b_stride, size_t depth) {
    lanes sum[TILE_ROWS][TILE_VECTORS], own[TILE_ROWS][TILE_VECTORS];
#define PART(v) ((v) + 1 == vectors ? part : LANES)
    UNROLL for (int r = 0; r < block_rows; r++)
        UNROLL for (int v = 0; v < vectors; v++) {
            sum[r][v] = load_part(out + (size_t)r * out_stride + (size_t)v * LANES, PART(v));
            if (of != OF_PRODUCT) own[r][v] = load_part(a + (size_t)r * a_stride + (size_t)v * LANES, PART(v));
            else own[r][v] = (lanes){0};
        }
    for (size_t k = 0; k < depth; k++) {
        lanes row[TILE_VECTORS];
        UNROLL for (int v = 0; v < vectors; v++)
            row[v] = load_part(b + k * b_stride + (size_t)v * LANES, PART(v));
        UNROLL for (int r = 0; r < block_rows; r++) {
            lanes factor = broadcast(gradient[(size_t)r * row_step + k * depth_step]);
            UNROLL for (int v = 0; v < vectors; v++)
                sum[r][v] = add_derivative(of, sum[r][v], factor, own[r][v], row[v]);
        }
    }
    UNROLL for (int r = 0; r < block_rows; r++)
        UNROLL for (int v = 0; v < vectors; v++)
            store_part(out + (size_t)r * out_stride + (size_t)v * LANES, sum[r][v], PART(v));
#undef PART
}

/// All rows of a panel of `vectors` vectors of columns.
INLINE void gradient_panel(derivative of, const int vectors, size_t part, float *out, size_t out_stride,
                           const float *gradient, size_t row_step, size_t depth_step, const float *a,
                           size_t a_stride, const float *b, size_t b_stride, size_t rows, size_t depth) {
#define BLOCK(n) \
    gradient_block(of, n, vectors, part, out, out_stride, gradient, row_step, depth_step, a, a_stride, b, \
                   b_stride, depth)
    const size_t step = of == OF_PRODUCT || vectors <= TILE_VECTORS / 2 ? TILE_ROWS : TILE_ROWS / 2;
    for (; rows >= step; rows -= step) {
        BLOCK(of == OF_PRODUCT || vectors <= TILE_VECTORS / 2 ? TILE_ROWS : TILE_ROWS / 2);
        out += step * out_stride;
        gradient += step * row_step;
        if (of != OF_PRODUCT) a += step * a_stride;
    }
    WITH_CONSTANT(BLOCK, rows)
#undef BLOCK
}

INLINE void gradient_tile(derivative of, float *out, size_t out_stride, const float *gradient, size_t row_step,
                          size_t depth_step, const float *a, size_t a_stride, const float *b, size_t b_stride,
                          size_t rows, size_t columns, size_t depth) {
#define PANEL(n, part) \
    gradient_panel(of, n, part, out + c, out_stride, gradient, row_step, depth_step, a + c, a_stride, b + c, \
                   b_stride, rows, depth)
    size_t c = 0;
    for (; c + TILE_VECTORS * LANES <= columns; c += TILE_VECTORS * LANES) PANEL(TILE_VECTORS, LANES);
    size_t rest = columns - c;
    if (rest == 0) return;
    size_t part = (rest - 1) % LANES + 1;
    switch ((rest - 1) / LANES) {
    case 0: PANEL(1, part); break;
#if TILE_VECTORS >= 2
    case 1: PANEL(2, part); break;
#endif
#if TILE_VECTORS >= 4
    case 2: PANEL(3, part); break;
    case 3: PANEL(4, part); break;
#endif
    }
#undef PANEL
}

/// A distance goes a few rows at a time, for each of which the whole depth would come from afar.
INLINE void distance_tile(derivative of, float *out, size_t out_stride, const float *gradient, size_t row_step,
                          size_t depth_step, const float *a, size_t a_stride, const float *b, size_t b_stride,
                          size_t rows, size_t columns, size_t depth) {
    const size_t most = 64;
    for (size_t k = 0; k < depth; k += most)
        gradient_tile(of, out, out_stride, gradient + k * depth_step, row_step, depth_step, a, a_stride,
                      b + k * b_stride, b_stride, rows, columns, depth - k < most ? depth - k : most);
}

static void product_gradient(float *out, size_t out_stride, const float *gradient, size_t row_step,
                             size_t depth_step, const float *b, size_t b_stride, size_t rows, size_t columns,
                             size_t depth) {
    gradient_tile(OF_PRODUCT, out, out_stride, gradient, row_step, depth_step, b, 0, b, b_stride, rows, columns,
                  depth);
}

static void squared_distance_gradient(float *out, size_t out_stride, const float *gradient, size_t row_step,
                                      size_t depth_step, const float *a, size_t a_stride, const float *b,
                                      size_t b_stride, size_t rows, size_t columns, size_t depth) {
    distance_tile(OF_SQUARED_DISTANCE, out, out_stride, gradient, row_step, depth_step, a, a_stride, b, b_stride,
                  rows, columns, depth);
}

static void absolute_distance_gradient(float *out, size_t out_stride, const float *gradient, size_t row_step,
                                       size_t depth_step, const float *a, size_t a_stride, const float *b,
                                       size_t b_stride, size_t rows, size_t columns, size_t depth) {
    distance_tile(OF_ABSOLUTE_DISTANCE, out, out_stride, gradient, row_step, depth_step, a, a_stride, b,
                  b_stride, rows, columns, depth);
}

// MARK: - The additive form

/// One row of keys with `part` features, and all queries.
INLINE void additive_gradient_row(size_t part, float *query_sums, float *key_sum, lanes *weight_sum,
                                  const float *gradient, const float *queries, size_t query_stride,
                                  size_t query_sum_stride, const float *key, size_t query_count) {
    lanes own = load_part(key, part), sum = load_part(key_sum, part), hidden_sum = *weight_sum;
    for (size_t q = 0; q < query_count; q++) {
        float factor = gradient[q];
        // It adds nothing, and the pair may be masked.
        if (factor == 0) continue;
        lanes hidden = tanh_lanes(load_part(queries + q * query_stride, part) + own);
        lanes slope = __builtin_elementwise_fma(-hidden, hidden, broadcast(1));
        float *query_sum = query_sums + q * query_sum_stride;
        store_part(query_sum, __builtin_elementwise_fma(broadcast(factor), slope, load_part(query_sum, part)), part);
        sum = __builtin_elementwise_fma(broadcast(factor), slope, sum);
        hidden_sum = __builtin_elementwise_fma(broadcast(factor), hidden, hidden_sum);
    }
    store_part(key_sum, sum, part);
    *weight_sum = hidden_sum;
}

static void additive_gradient(float *query_sums, float *key_sums, float *weight_sums, const float *gradient,
                              const float *queries, size_t query_stride, const float *keys, size_t key_stride,
                              size_t query_count, size_t key_count, size_t features) {
    for (size_t f = 0; f < features; f += LANES) {
        size_t part = features - f < LANES ? features - f : LANES;
        lanes weight_sum = load_part(weight_sums + f, part);
        for (size_t k = 0; k < key_count; k++)
            additive_gradient_row(part, query_sums + f, key_sums + k * features + f, &weight_sum,
                                  gradient + k * query_count, queries + f, query_stride, features,
                                  keys + k * key_stride + f, query_count);
        store_part(weight_sums + f, weight_sum, part);
    }
}

// MARK: - Norms

static void normalize(float *out, const float *x, size_t count) {
    double norm = __builtin_sqrt(sum_of_squares(x, count));
    for (size_t i = 0; i < count; i += LANES) {
        size_t part = count - i < LANES ? count - i : LANES;
        double_lanes wide = __builtin_convertvector(load_part(x + i, part), double_lanes);
        double factor = norm == 0 ? 0 : 1 / norm;
        store_part(out + i, __builtin_convertvector(wide * factor, lanes), part);
    }
}

/// The sum of all lanes: four sums of every fourth, in pairs.
INLINE double lane_sum(const double_lanes *x) {
    double part[4] = {0, 0, 0, 0};
    for (int i = 0; i < LANES; i++) part[i % 4] += (*x)[i];
    return (part[0] + part[1]) + (part[2] + part[3]);
}

static void layer_norm(float *out, const float *x, const float *weight, const float *bias, size_t count,
                       double epsilon, double *statistics) {
    double_lanes sums = {0}, squares = {0};
    for (size_t i = 0; i < count; i += LANES)
        sums += __builtin_convertvector(load_part(x + i, count - i < LANES ? count - i : LANES), double_lanes);
    const double mean = lane_sum(&sums) / (double)count;
    const size_t whole = count / LANES * LANES;
    for (size_t i = 0; i < whole; i += LANES) {
        double_lanes difference = __builtin_convertvector(load(x + i), double_lanes) - mean;
        squares += difference * difference;
    }
    double square = lane_sum(&squares);
    for (size_t i = whole; i < count; i++) square += ((double)x[i] - mean) * ((double)x[i] - mean);
    const double factor = 1 / __builtin_sqrt(square / (double)count + epsilon);
    for (size_t i = 0; i < count; i += LANES) {
        size_t part = count - i < LANES ? count - i : LANES;
        double_lanes difference = __builtin_convertvector(load_part(x + i, part), double_lanes) - mean;
        lanes scaled = __builtin_convertvector(difference * factor, lanes) * load_part(weight + i, part);
        store_part(out + i, bias ? scaled + load_part(bias + i, part) : scaled, part);
    }
    statistics[0] = mean;
    statistics[1] = factor;
}

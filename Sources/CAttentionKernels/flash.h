// A step of attention: the scores of some queries and keys, their weights, and the average of the values. Included at
// the end of `vector.h`.
//
// A group of TILE_ROWS queries goes through all keys of a tile before the next begins, so that its scores stay in the
// first-level cache and never have to be read from farther away.

// MARK: - Weights

#ifndef EXP_BELOW
/// exp(x) for x ≤ 0: 0 where the result would lie below the normal numbers. NaN stays.
///
/// x log₂e is an integer n and a fraction r, |r| ≤ 1/2, split with one rounding. The polynomial for 2ʳ is the
/// minimax one of degree 6 for the relative error, which is 2e-9, with 1 as its first coefficient.
INLINE lanes exp_below(lanes x) {
    const lanes shifter = broadcast(0x1.8p23f), log2e = broadcast(0x1.715476p0f);
    lanes shifted = __builtin_elementwise_fma(x, log2e, shifter);
    lanes r = __builtin_elementwise_fma(x, log2e, shifter - shifted);
    lanes p = broadcast(0x1.41fbb8p-13f);
    p = __builtin_elementwise_fma(p, r, broadcast(0x1.5f3e54p-10f));
    p = __builtin_elementwise_fma(p, r, broadcast(0x1.3b2d4cp-7f));
    p = __builtin_elementwise_fma(p, r, broadcast(0x1.c6aee8p-5f));
    p = __builtin_elementwise_fma(p, r, broadcast(0x1.ebfbdcp-3f));
    p = __builtin_elementwise_fma(p, r, broadcast(0x1.62e430p-1f));
    p = __builtin_elementwise_fma(p, r, broadcast(1));
    lanes result = (lanes)((int_lanes)p + ((int_lanes)shifted << 23));
    result = choose(x < -0x1.5d589ep6f, (lanes){0}, result);
    return choose(x == x, result, x);
}
#endif

/// How many sums a row's vectors are added to in turn.
enum { WEIGHT_SUMS = 4 };

/// In place the weights exp(score - shift) of vectors `first`..<`end` of a row; returns the lanes of their sum. `first` is a
/// multiple of WEIGHT_SUMS: a key is added to the same lane of the same sum whatever the vectors are, and one of
/// weight 0 leaves every bit as it was.
INLINE lanes weigh(float *row, size_t first, size_t end, float shift) {
    lanes sum[WEIGHT_SUMS] = {{0}, {0}, {0}, {0}};
    size_t v = first;
    for (; v + WEIGHT_SUMS <= end; v += WEIGHT_SUMS)
        UNROLL for (size_t i = 0; i < WEIGHT_SUMS; i++) {
            lanes weight = exp_below(load(row + (v + i) * LANES) - shift);
            store(row + (v + i) * LANES, weight);
            sum[i] += weight;
        }
    UNROLL for (size_t i = 0; i < WEIGHT_SUMS - 1; i++)
        if (v + i < end) {
            lanes weight = exp_below(load(row + (v + i) * LANES) - shift);
            store(row + (v + i) * LANES, weight);
            sum[i] += weight;
        }
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

/// The largest lane; none is NaN.
INLINE float largest_lane(lanes x) {
#if LANES == 16
    // In rounds that halve the vector: one lane after the other takes 60 cycles.
    x = larger(x, __builtin_shufflevector(x, x, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7));
    x = larger(x, __builtin_shufflevector(x, x, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11));
    x = larger(x, __builtin_shufflevector(x, x, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13));
    x = larger(x, __builtin_shufflevector(x, x, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14));
    return x[0];
#else
    float result = x[0];
    UNROLL for (int l = 1; l < LANES; l++)
        result = x[l] > result ? x[l] : result;
    return result;
#endif
}

// MARK: - Scores

/// What a group of queries sees of a tile's keys.
typedef struct {
    /// Of each query.
    size_t begin[TILE_ROWS], end[TILE_ROWS];
    /// From the first key that any of them sees to the last.
    size_t first, last;
    /// What all of them see, if `all_first` is below `all_last`.
    size_t all_first, all_last;
} visible_keys;

INLINE visible_keys visible_to(const sattn_attention_tile *tile, size_t top, size_t rows) {
    visible_keys keys = {.first = tile->keys, .last = 0, .all_first = 0, .all_last = tile->keys};
    for (size_t i = 0; i < TILE_ROWS; i++) {
        // Queries that are not there repeat the last.
        size_t row = top + (i < rows ? i : rows - 1);
        size_t begin = tile->begins == NULL ? 0 : tile->begins[row];
        size_t end = tile->ends == NULL ? tile->keys : tile->ends[row];
        keys.begin[i] = begin;
        keys.end[i] = end;
        if (begin > keys.all_first) keys.all_first = begin;
        if (end < keys.all_last) keys.all_last = end;
        if (begin >= end) continue;
        if (begin < keys.first) keys.first = begin;
        if (end > keys.last) keys.last = end;
    }
    return keys;
}

/// Scales the products of a group of queries and `vectors` vectors of keys, hides what is not seen, and stores them.
INLINE void finish_scores(const int vectors, lanes sum[TILE_ROWS][TILE_VECTORS], float *scores, size_t score_stride,
                          lanes largest[TILE_ROWS], float scale, const visible_keys *visible, size_t key) {
    UNROLL for (int r = 0; r < TILE_ROWS; r++)
        UNROLL for (int v = 0; v < vectors; v++) sum[r][v] *= scale;
    if (key < visible->all_first || key + (size_t)vectors * LANES > visible->all_last) {
        int_lanes index;
        UNROLL for (int l = 0; l < LANES; l++) index[l] = l;
        UNROLL for (int r = 0; r < TILE_ROWS; r++) {
            int begin = (int)visible->begin[r] - (int)key, end = (int)visible->end[r] - (int)key;
            UNROLL for (int v = 0; v < vectors; v++)
                sum[r][v] = choose((index >= begin - v * LANES) & (index < end - v * LANES), sum[r][v],
                                   broadcast(-__builtin_inff()));
        }
    }
    UNROLL for (int r = 0; r < TILE_ROWS; r++)
        UNROLL for (int v = 0; v < vectors; v++) {
            store(scores + (size_t)r * score_stride + (size_t)v * LANES, sum[r][v]);
            largest[r] = larger(sum[r][v], largest[r]);
        }
}

/// The scores of a group of queries and `vectors` vectors of keys, a constant, and the largest of each query so far.
INLINE void score_block(operation op, const int vectors, float *scores, size_t score_stride,
                        lanes largest[TILE_ROWS], const float *const queries[TILE_ROWS], const float *panel,
                        size_t depth, float scale, const visible_keys *visible, size_t key) {
    lanes sum[TILE_ROWS][TILE_VECTORS];
    UNROLL for (int r = 0; r < TILE_ROWS; r++)
        UNROLL for (int v = 0; v < vectors; v++) sum[r][v] = (lanes){0};
    const lanes unit = broadcast(op == ABSOLUTE_DISTANCE ? one : 0);
    for (size_t k = 0; k < depth; k++) {
        lanes column[TILE_VECTORS];
        UNROLL for (int v = 0; v < vectors; v++)
            column[v] = load(panel + k * TILE_VECTORS * LANES + (size_t)v * LANES);
        UNROLL for (int r = 0; r < TILE_ROWS; r++) {
            lanes query = broadcast(queries[r][k]);
            UNROLL for (int v = 0; v < vectors; v++)
                sum[r][v] = accumulate(op, sum[r][v], query, column[v], unit);
        }
    }
    finish_scores(vectors, sum, scores, score_stride, largest, scale, visible, key);
}

/// The scores of a group of queries and the panels of keys that any of them sees.
INLINE void score_panels(operation op, const sattn_attention_tile *tile, float *scores, lanes largest[TILE_ROWS],
                         size_t top, size_t rows, const visible_keys *visible, size_t first) {
    const size_t width = TILE_VECTORS * LANES;
    const float *queries[TILE_ROWS];
    for (size_t i = 0; i < TILE_ROWS; i++)
        queries[i] = tile->queries + (top + (i < rows ? i : rows - 1)) * tile->query_stride;
    for (size_t key = first; key < visible->last; key += width) {
        const float *panel = tile->panels + key * tile->depth;
#define BLOCK(n) \
    score_block(op, n, scores + key, tile->score_stride, largest, queries, panel, tile->depth, tile->scale, visible, key)
        switch ((visible->last - key + LANES - 1) / LANES) {
        case 1: BLOCK(1); break;
#if TILE_VECTORS == 4
        case 2: BLOCK(2); break;
        case 3: BLOCK(3); break;
#endif
        default: BLOCK(TILE_VECTORS); break;
        }
#undef BLOCK
    }
}

/// The largest of each row of scores that are given; those behind the last become -∞ up to a whole vector.
static void largest_given(const sattn_attention_tile *tile, float *scores, lanes largest[TILE_ROWS], size_t rows) {
    for (size_t r = 0; r < rows; r++) {
        float *row = scores + r * tile->score_stride;
        for (size_t key = tile->keys; key % LANES != 0; key++) row[key] = -__builtin_inff();
        for (size_t key = 0; key < tile->keys; key += LANES) largest[r] = larger(load(row + key), largest[r]);
    }
}

// MARK: - Softmax

/// What a block of keys does to the softmax of a query.
typedef struct {
    /// The maximum before, and what is taken from the scores.
    float before, shift;
    /// The weights' sum.
    lanes sum;
} softmax_state;

/// Raises the maxima; of all queries before the first exponential, so that none waits for its maximum.
INLINE void begin_softmax(const sattn_attention_tile *tile, size_t top, size_t rows, const lanes largest[TILE_ROWS],
                          softmax_state state[TILE_ROWS]) {
    for (size_t r = 0; r < rows; r++) {
        float now = largest_lane(largest[r]);
        state[r].before = tile->maxima[top + r];
        now = now > state[r].before ? now : state[r].before;
        tile->maxima[top + r] = now;
        // A query that sees nothing so far has maximum -∞, and -∞ - (-∞) is NaN: it begins at 0.
        state[r].shift = now == -__builtin_inff() ? 0 : now;
    }
}

/// Adds the sums, and scales down what came before where the maximum rose.
INLINE void finish_softmax(const sattn_attention_tile *tile, size_t top, size_t rows,
                           const softmax_state state[TILE_ROWS]) {
    for (size_t r = 0; r < rows; r++) {
        // What is 0 so far stays 0.
        if (tile->maxima[top + r] > state[r].before && state[r].before != -__builtin_inff()) {
            float kept = exp_lanes(broadcast(state[r].before - state[r].shift))[0];
            tile->sums[top + r] *= kept;
            scale(tile->averages + (top + r) * tile->width, tile->width, kept);
        }
        tile->sums[top + r] += sum_of_lanes(state[r].sum);
    }
}

// MARK: - Averages

/// averages[r] += Σ_k weights[r][k] · values[k]
static void add_values(const sattn_attention_tile *tile, float *averages, const float *weights, size_t rows,
                       size_t first, size_t last) {
    const size_t width = tile->width;
    const float *values = tile->values + first * tile->value_stride;
    size_t c = 0;
    for (; c + TILE_VECTORS * LANES <= width; c += TILE_VECTORS * LANES)
        panel(PRODUCT, averages + c, width, TILE_VECTORS, 0, averages + c, width, weights + first,
              tile->score_stride, values + c, tile->value_stride, rows, last - first, NULL);
#if TILE_VECTORS == 4
    for (; c + 2 * LANES <= width; c += 2 * LANES)
        panel(PRODUCT, averages + c, width, 2, 0, averages + c, width, weights + first, tile->score_stride,
              values + c, tile->value_stride, rows, last - first, NULL);
#endif
    for (; c < width; c += LANES)
        panel(PRODUCT, averages + c, width, 1, width - c < LANES ? width - c : LANES, averages + c, width,
              weights + first, tile->score_stride, values + c, tile->value_stride, rows, last - first, NULL);
}

/// Whether the values of some keys are finite numbers.
static bool values_are_finite(const sattn_attention_tile *tile, size_t first, size_t last) {
    // 0 · x is 0 for every finite x, and NaN for the others.
    lanes sum = {0};
    for (size_t key = first; key < last; key++)
        for (size_t c = 0; c < tile->width; c += LANES)
            sum += 0 * load_part(tile->values + key * tile->value_stride + c,
                                 tile->width - c < LANES ? tile->width - c : LANES);
    return sum_of_lanes(sum) == 0;
}

static void attend(const sattn_attention_tile *tile) {
    // So that each vector has its turn in `weigh`, whatever the first key that is seen.
    const size_t step = TILE_VECTORS < WEIGHT_SUMS ? WEIGHT_SUMS * LANES : TILE_VECTORS * LANES;
    for (size_t top = 0; top < tile->rows; top += TILE_ROWS) {
        const size_t rows = tile->rows - top < TILE_ROWS ? tile->rows - top : TILE_ROWS;
        const visible_keys visible = visible_to(tile, top, rows);
        if (visible.first >= visible.last) continue;
        const size_t first = visible.first / step * step;
        // Scores that are given have each a row of their own.
        float *scores = tile->scores + (tile->panels == NULL ? top * tile->score_stride : 0);
        float *averages = tile->averages + top * tile->width;
        lanes largest[TILE_ROWS];
        for (size_t r = 0; r < TILE_ROWS; r++) largest[r] = broadcast(-__builtin_inff());
        if (tile->panels == NULL)
            largest_given(tile, scores, largest, rows);
        else
            switch (tile->operation) {
            case SATTN_PRODUCT: score_panels(PRODUCT, tile, scores, largest, top, rows, &visible, first); break;
            case SATTN_SQUARED_DISTANCE:
                score_panels(SQUARED_DISTANCE, tile, scores, largest, top, rows, &visible, first);
                break;
            case SATTN_ABSOLUTE_DISTANCE:
                score_panels(ABSOLUTE_DISTANCE, tile, scores, largest, top, rows, &visible, first);
                break;
            }
        softmax_state state[TILE_ROWS];
        begin_softmax(tile, top, rows, largest, state);
        for (size_t r = 0; r < rows; r++)
            state[r].sum = weigh(scores + r * tile->score_stride, first / LANES, (visible.last + LANES - 1) / LANES,
                                 state[r].shift);
        finish_softmax(tile, top, rows, state);
        if (tile->values == NULL) continue;
        // Keys that only some of the queries see weigh 0 with the others, and 0 · NaN is NaN.
        bool none_common = visible.all_first >= visible.all_last;
        if (none_common ? values_are_finite(tile, visible.first, visible.last)
                        : values_are_finite(tile, visible.first, visible.all_first)
                              && values_are_finite(tile, visible.all_last, visible.last)) {
            add_values(tile, averages, scores, rows, visible.first, visible.last);
            continue;
        }
        for (size_t r = 0; r < rows; r++)
            if (visible.begin[r] < visible.end[r])
                add_values(tile, averages + r * tile->width, scores + r * tile->score_stride, 1, visible.begin[r],
                           visible.end[r]);
    }
}

static void divide_rows(float *out, size_t out_stride, const float *x, size_t x_stride, const float *divisors,
                        size_t rows, size_t columns) {
    for (size_t r = 0; r < rows; r++) {
        lanes factor = broadcast(1 / divisors[r]);
        for (size_t c = 0; c < columns; c += LANES) {
            size_t part = columns - c < LANES ? columns - c : LANES;
            store_part(out + r * out_stride + c, factor * load_part(x + r * x_stride + c, part), part);
        }
    }
}

// Products of bfloat16 by tiles, for processors with AMX: 16 rows times 16 pairs of a panel's 16 columns at a time, in
// one instruction. Included by `avx512.c` after `pairs.h` and `flash_bfloat16.h`, whose layouts are the tiles' own.
//
// A tile adds the first numbers of its 16 pairs one after the other, and beside them the second ones, and both sums to
// what it held. Which pairs make a tile follows from their place in the depth, so a sum has the same bits in any block.
// Pairs that fill no tile are added as `pairs.h` adds them.

#include <immintrin.h>

enum {
    /// Rows of a tile, its columns, and its pairs along the depth.
    TILE = 16,
    /// The bytes of a tile's row.
    TILE_BYTES = 64,
};

/// What `_tile_loadconfig` reads.
typedef struct {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tile_configuration;

/// Gives tiles 0 to 3 and 4 to 5 so many rows, and tiles 6 and 7, which hold pairs of a panel, all.
///
/// Tiles 0 and 1 are sums of the rows of tile 4, tiles 2 and 3 of those of tile 5.
INLINE void configure_tiles(size_t upper_rows, size_t lower_rows) {
    tile_configuration tiles = {.palette = 1};
    for (int i = 0; i < 8; i++) {
        size_t rows = i == 0 || i == 1 || i == 4 ? upper_rows : i == 2 || i == 3 || i == 5 ? lower_rows : TILE;
        tiles.rows[i] = (uint8_t)(rows < 1 ? 1 : rows > TILE ? TILE : rows);
        tiles.row_bytes[i] = TILE_BYTES;
    }
    _tile_loadconfig(&tiles);
}

// MARK: - Products

/// Loads tile `i` with sums of up to TILE columns, or stores it; the tile has `rows` rows. A macro, since the number of a
/// tile is a part of the instruction.
#define LOAD_SUMS(i, from, stride, part, rows) \
    do { \
        if ((part) == TILE) { \
            _tile_loadd(i, from, 4 * (stride)); \
        } else { \
            float local[TILE * TILE] = {0}; \
            for (size_t row = 0; row < (rows); row++) memcpy(local + row * TILE, (from) + row * (stride), 4 * (part)); \
            _tile_loadd(i, local, TILE_BYTES); \
        } \
    } while (0)
#define STORE_SUMS(i, to, stride, part, rows) \
    do { \
        if ((part) == TILE) { \
            _tile_stored(i, to, 4 * (stride)); \
        } else { \
            float local[TILE * TILE]; \
            _tile_stored(i, local, TILE_BYTES); \
            for (size_t row = 0; row < (rows); row++) memcpy((to) + row * (stride), local + row * TILE, 4 * (part)); \
        } \
    } while (0)

/// Up to 32 rows, `two_rows` says if more than 16, and up to 32 columns of a panel, over whole tiles of pairs.
INLINE void tile_block(const bool two_rows, const bool two_columns, size_t rows, size_t columns, float *out,
                       size_t out_stride, bool continues, const uint16_t *a, size_t a_stride, const uint32_t *panel,
                       size_t pairs) {
    enum { WIDTH = TILE_VECTORS * LANES };
    const size_t left = columns < TILE ? columns : TILE, right = columns - left;
    const size_t upper = rows < TILE ? rows : TILE, lower = rows - upper;
    float *below = out + TILE * out_stride;
    const uint16_t *a_below = a + TILE * a_stride;
    if (continues) {
        LOAD_SUMS(0, out, out_stride, left, upper);
        if (two_columns) LOAD_SUMS(1, out + TILE, out_stride, right, upper);
        if (two_rows) LOAD_SUMS(2, below, out_stride, left, lower);
        if (two_rows && two_columns) LOAD_SUMS(3, below + TILE, out_stride, right, lower);
    } else {
        _tile_zero(0);
        if (two_columns) _tile_zero(1);
        if (two_rows) _tile_zero(2);
        if (two_rows && two_columns) _tile_zero(3);
    }
    for (size_t k = 0; k < pairs; k += TILE) {
        _tile_loadd(6, panel + k * WIDTH, 4 * WIDTH);
        _tile_loadd(4, a + 2 * k, 2 * a_stride);
        _tile_dpbf16ps(0, 4, 6);
        if (two_rows) {
            _tile_loadd(5, a_below + 2 * k, 2 * a_stride);
            _tile_dpbf16ps(2, 5, 6);
        }
        if (two_columns) {
            _tile_loadd(7, panel + k * WIDTH + TILE, 4 * WIDTH);
            _tile_dpbf16ps(1, 4, 7);
            if (two_rows) _tile_dpbf16ps(3, 5, 7);
        }
    }
    STORE_SUMS(0, out, out_stride, left, upper);
    if (two_columns) STORE_SUMS(1, out + TILE, out_stride, right, upper);
    if (two_rows) STORE_SUMS(2, below, out_stride, left, lower);
    if (two_rows && two_columns) STORE_SUMS(3, below + TILE, out_stride, right, lower);
}

static void product_packed_bfloat16_by_tiles(float *out, size_t out_stride, bool continues, const uint16_t *a,
                                             size_t a_stride, const uint32_t *panels, size_t panel_stride,
                                             size_t rows, size_t columns, size_t pairs) {
    enum { WIDTH = TILE_VECTORS * LANES, BLOCK = 2 * TILE };
    const size_t whole = pairs / TILE * TILE;
    if (whole > 0) {
        for (size_t r = 0; r < rows; r += BLOCK) {
            const size_t height = rows - r < BLOCK ? rows - r : BLOCK;
            if (r == 0 || height < BLOCK) configure_tiles(height, height < TILE ? 0 : height - TILE);
            for (size_t c = 0; c < columns; c += BLOCK) {
                const size_t width = columns - c < BLOCK ? columns - c : BLOCK;
                const uint32_t *panel = panels + c / WIDTH * panel_stride + c % WIDTH;
#define BLOCK_OF(two_rows, two_columns) \
    tile_block(two_rows, two_columns, height, width, out + r * out_stride + c, out_stride, continues, \
               a + r * a_stride, a_stride, panel, whole)
                if (height > TILE && width > TILE)
                    BLOCK_OF(true, true);
                else if (height > TILE)
                    BLOCK_OF(true, false);
                else if (width > TILE)
                    BLOCK_OF(false, true);
                else
                    BLOCK_OF(false, false);
#undef BLOCK_OF
            }
        }
        _tile_release();
    }
    if (whole < pairs || pairs == 0)
        product_packed_bfloat16_by_instruction(out, out_stride, continues || whole > 0, a + 2 * whole, a_stride,
                                               panels + whole * WIDTH, panel_stride, rows, columns, pairs - whole);
}

static void product_transposed_bfloat16_by_tiles(float *out, size_t out_stride, const uint16_t *a, size_t a_stride,
                                                 const uint16_t *b, size_t b_stride, size_t rows, size_t columns,
                                                 size_t pairs) {
    const size_t whole = pairs / TILE * TILE;
    _Alignas(64) float turned[TILE * TILE];
    for (size_t r = 0; r < rows; r += TILE) {
        const size_t height = rows - r < TILE ? rows - r : TILE;
        if (r == 0 || height < TILE) configure_tiles(height, 0);
        for (size_t c = 0; c < columns; c += TILE) {
            const size_t width = columns - c < TILE ? columns - c : TILE;
            const uint8_t *source = (const uint8_t *)(b + c * b_stride);
            float *to = out + r * out_stride + c;
            lanes words[LANES];
            _tile_zero(0);
            for (size_t k = 0; k < whole; k += TILE) {
                load_turned(words, source + 4 * k, 2 * b_stride, width, TILE_BYTES);
                UNROLL for (size_t i = 0; i < LANES; i++) store(turned + i * TILE, words[i]);
                _tile_loadd(6, turned, TILE_BYTES);
                _tile_loadd(4, a + r * a_stride + 2 * k, 2 * a_stride);
                _tile_dpbf16ps(0, 4, 6);
            }
            STORE_SUMS(0, to, out_stride, width, height);
            if (whole == pairs) continue;
            load_turned(words, source + 4 * whole, 2 * b_stride, width, 4 * (pairs - whole));
            UNROLL for (size_t i = 0; i < LANES; i++) store(turned + i * TILE, words[i]);
            for (size_t i = 0; i < height; i++) {
                lanes sum = (lanes)load_part(to + i * out_stride, width);
                for (size_t k = whole; k < pairs; k++) {
                    uint32_t pair;
                    memcpy(&pair, a + (r + i) * a_stride + 2 * k, sizeof pair);
                    sum = ADD_PAIRS(sum, (lanes)(pair - (uint_lanes){0}), load(turned + (k - whole) * TILE));
                }
                store_part(to + i * out_stride, (__m512)sum, width);
            }
        }
    }
    _tile_release();
}

// MARK: - Attention

/// Adds to the sums in tiles 0 to 3 the products of a tile of rows with four tiles of pairs side by side; strides are in
/// words.
INLINE void multiply_four_tiles(const float *rows, size_t row_stride, const float *pairs, size_t pair_stride) {
    _tile_loadd(4, rows, 4 * row_stride);
    _tile_loadd(6, pairs, 4 * pair_stride);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, pairs + TILE, 4 * pair_stride);
    _tile_dpbf16ps(1, 4, 7);
    _tile_loadd(6, pairs + 2 * TILE, 4 * pair_stride);
    _tile_dpbf16ps(2, 4, 6);
    _tile_loadd(7, pairs + 3 * TILE, 4 * pair_stride);
    _tile_dpbf16ps(3, 4, 7);
}

/// Stores tiles 0 to 3 side by side.
INLINE void store_four_tiles(float *out, size_t stride) {
    _tile_stored(0, out, 4 * stride);
    _tile_stored(1, out + TILE, 4 * stride);
    _tile_stored(2, out + 2 * TILE, 4 * stride);
    _tile_stored(3, out + 3 * TILE, 4 * stride);
}

/// averages[r] += Σ_k weights[r][k] · values[k] for the rows of the tiles, over whole tiles of pairs; `width` is a
/// multiple of TILE.
INLINE void add_tiles(float *averages, size_t width, const float *weights, size_t weight_stride, const float *values,
                      size_t value_stride, size_t pairs) {
    size_t c = 0;
    for (; c + 4 * TILE <= width; c += 4 * TILE) {
        _tile_loadd(0, averages + c, 4 * width);
        _tile_loadd(1, averages + c + TILE, 4 * width);
        _tile_loadd(2, averages + c + 2 * TILE, 4 * width);
        _tile_loadd(3, averages + c + 3 * TILE, 4 * width);
        for (size_t k = 0; k < pairs; k += TILE)
            multiply_four_tiles(weights + k, weight_stride, values + k * value_stride + c, value_stride);
        store_four_tiles(averages + c, width);
    }
    for (; c < width; c += TILE) {
        _tile_loadd(0, averages + c, 4 * width);
        for (size_t k = 0; k < pairs; k += TILE) {
            _tile_loadd(4, weights + k, 4 * weight_stride);
            _tile_loadd(6, values + k * value_stride + c, 4 * value_stride);
            _tile_dpbf16ps(0, 4, 6);
        }
        _tile_stored(0, averages + c, 4 * width);
    }
}

/// As `add_tiles` for one query, which is the tiles' only row, and the keys from `begin` to before `end`, counted from the
/// first of `values`: the others count as 0, whatever their values are.
static void add_seen_tiles(float *averages, size_t width, const float *weights, const float *values,
                           size_t value_stride, size_t begin, size_t end) {
    _Alignas(64) float seen[TILE * TILE];
    for (size_t c = 0; c < width; c += TILE) {
        _tile_loadd(0, averages + c, 4 * width);
        for (size_t k = begin / 2 / TILE * TILE; 2 * k < end; k += TILE) {
            for (size_t i = 0; i < TILE; i++) {
                const size_t key = 2 * (k + i);
                const uint32_t mask = (key >= begin && key < end ? 0xFFFFu : 0)
                                      | (key + 1 >= begin && key + 1 < end ? 0xFFFF0000u : 0);
                lanes pair = load(values + (k + i) * value_stride + c);
                store(seen + i * TILE, (lanes)((uint_lanes)pair & mask));
            }
            _tile_loadd(4, weights + k, TILE_BYTES);
            _tile_loadd(6, seen, TILE_BYTES);
            _tile_dpbf16ps(0, 4, 6);
        }
        _tile_stored(0, averages + c, 4 * width);
    }
}

/// The scores of a group of queries, the rows of the tiles, and a panel of keys; `depth` is a multiple of TILE.
INLINE void score_tiles(const sattn_attention_tile *tile, float *scores, const float *queries, size_t key) {
    const float *panel = tile->panels + key * tile->depth;
    const size_t width = TILE_VECTORS * LANES;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (size_t k = 0; k < tile->depth; k += TILE)
        multiply_four_tiles(queries + k, tile->query_stride, panel + k * width, width);
    store_four_tiles(scores + key, tile->score_stride);
}

/// `finish_scores` for scores in memory, of up to TILE_ROWS queries.
INLINE void finish_score_tiles(float *scores, size_t score_stride, lanes largest[TILE_ROWS], float scale,
                               const visible_keys *visible, size_t key, size_t rows) {
    const bool is_cut = key < visible->all_first || key + TILE_VECTORS * LANES > visible->all_last;
    int_lanes index;
    UNROLL for (int l = 0; l < LANES; l++) index[l] = l;
    for (size_t r = 0; r < rows; r++) {
        float *row = scores + r * score_stride + key;
        int begin = (int)visible->begin[r] - (int)key, end = (int)visible->end[r] - (int)key;
        UNROLL for (int v = 0; v < TILE_VECTORS; v++) {
            lanes score = load(row + v * LANES) * scale;
            if (is_cut)
                score = choose((index >= begin - v * LANES) & (index < end - v * LANES), score,
                               broadcast(-__builtin_inff()));
            store(row + v * LANES, score);
            largest[r] = larger(score, largest[r]);
        }
    }
}

static void attend_bfloat16_by_tiles(const sattn_attention_tile *tile) {
    // Groups of TILE queries for the tiles, and parts of them for what is done by vectors.
    enum { PARTS = (TILE + TILE_ROWS - 1) / TILE_ROWS, WIDTH = TILE_VECTORS * LANES };
    if (tile->depth % TILE != 0 || tile->width % TILE != 0) {
        attend_bfloat16(tile);
        return;
    }
    size_t configured = 0;
    for (size_t top = 0; top < tile->rows; top += TILE) {
        const size_t rows = tile->rows - top < TILE ? tile->rows - top : TILE;
        visible_keys visible[PARTS];
        size_t counts[PARTS], first = tile->keys, last = 0, all_first = 0, all_last = tile->keys;
        for (size_t p = 0; p < PARTS; p++) {
            counts[p] = rows < p * TILE_ROWS ? 0 : rows - p * TILE_ROWS < TILE_ROWS ? rows - p * TILE_ROWS : TILE_ROWS;
            visible[p] = (visible_keys){0};
            if (counts[p] == 0) continue;
            visible[p] = visible_to(tile, top + p * TILE_ROWS, counts[p]);
            if (visible[p].first < first) first = visible[p].first;
            if (visible[p].last > last) last = visible[p].last;
            if (visible[p].all_first > all_first) all_first = visible[p].all_first;
            if (visible[p].all_last < all_last) all_last = visible[p].all_last;
        }
        if (first >= last) continue;
        first = first / WIDTH * WIDTH;
        if (configured != rows) configure_tiles(configured = rows, rows);
        float *scores = tile->scores, *averages = tile->averages + top * tile->width;
        lanes largest[PARTS][TILE_ROWS];
        for (size_t p = 0; p < PARTS; p++)
            for (size_t r = 0; r < TILE_ROWS; r++) largest[p][r] = broadcast(-__builtin_inff());
        for (size_t key = first; key < last; key += WIDTH) {
            score_tiles(tile, scores, tile->queries + top * tile->query_stride, key);
            for (size_t p = 0; p < PARTS; p++)
                finish_score_tiles(scores + p * TILE_ROWS * tile->score_stride, tile->score_stride, largest[p],
                                   tile->scale, &visible[p], key, counts[p]);
        }
        for (size_t p = 0; p < PARTS; p++) {
            softmax_state state[TILE_ROWS];
            begin_softmax(tile, top + p * TILE_ROWS, counts[p], largest[p], state);
            for (size_t r = 0; r < counts[p]; r++)
                state[r].sum = weigh_pairs(scores + (p * TILE_ROWS + r) * tile->score_stride, first / LANES,
                                           (last + LANES - 1) / LANES, state[r].shift);
            finish_softmax(tile, top + p * TILE_ROWS, counts[p], state);
        }
        // Whole tiles of pairs, from the first key that is seen to the last: pairs behind those that there are hold zeros.
        const size_t start = first / 2, end = (last + 2 * TILE - 1) / (2 * TILE) * TILE;
        const float *values = tile->values + start * tile->value_stride;
        // Keys that only some of the queries see weigh 0 with the others, and 0 · NaN is NaN.
        const size_t all_start = (all_first + 1) / 2, all_end = all_last / 2;
        if (all_start >= all_end ? value_pairs_are_finite(tile, start, end)
                                 : value_pairs_are_finite(tile, start, all_start)
                                       && value_pairs_are_finite(tile, all_end, end)) {
            add_tiles(averages, tile->width, scores + start, tile->score_stride, values, tile->value_stride,
                      end - start);
            continue;
        }
        configure_tiles(configured = 1, 1);
        for (size_t p = 0; p < PARTS; p++)
            for (size_t r = 0; r < counts[p]; r++)
                if (visible[p].begin[r] < visible[p].end[r])
                    add_seen_tiles(averages + (p * TILE_ROWS + r) * tile->width, tile->width,
                                   scores + (p * TILE_ROWS + r) * tile->score_stride + start, values,
                                   tile->value_stride, visible[p].begin[r] - first, visible[p].end[r] - first);
    }
    _tile_release();
}

// Holds one table of kernels against the scalar one: for processors that the Swift tests do not run on.
// Scripts/test-kernels-arm64 builds and runs it. Usage: kernels-test NAME

#include "CAttentionKernels.h"

#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const sattn_kernels *tested, *reference;
static size_t check_count, failure_count;

/// Which entries of the tested table were looked at, by their places: all are as large as a pointer.
enum { ENTRIES = sizeof(sattn_kernels) / sizeof(void *) };
static bool is_checked[ENTRIES];
static bool note_checked(size_t offset) {
    return is_checked[offset / sizeof(void *)] = true;
}
/// An entry of the tested table whose results are checked: `check_entries` misses those that this never stands for.
#define TESTED(entry) (note_checked(offsetof(sattn_kernels, entry)) ? tested->entry : tested->entry)

static uint64_t random_state = 88172645463325252;

/// Xorshift; from -1 to 1.
static float random_float(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (float)(int32_t)(random_state >> 32) * 0x1p-31f;
}

static void check(bool holds, const char *what, size_t rows, size_t columns, size_t depth, double got,
                  double expected) {
    check_count++;
    if (holds || failure_count++ > 20) return;
    printf("%s, %zu rows, %zu columns, depth %zu: %.9g instead of %.9g\n", what, rows, columns, depth, got,
           expected);
}

static bool near(double got, double expected, double tolerance) {
    if (isnan(expected)) return isnan(got);
    return got == expected || fabs(got - expected) <= tolerance;
}

/// Whether these floats have the same bits, NaN aside.
static bool same(const float *got, const float *expected, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (!(isnan(expected[i]) ? isnan(got[i]) : memcmp(&got[i], &expected[i], sizeof *got) == 0)) return false;
    return true;
}

/// What stands where nothing is to be written.
static const float guard = 12345;

/// The rule for every float32 result: at most twice the error of plain loops, both measured against float64, and four
/// units in the last place of the largest number. NaN and ∞ are where float64 has them, and guards are left alone.
static void check_rule(const char *what, size_t rows, size_t columns, size_t depth, const float *got,
                       const float *plain, const double *exact, size_t count) {
    double error = 0, plain_error = 0, largest = 0;
    for (size_t i = 0; i < count; i++) {
        if (exact[i] == guard || !isfinite(exact[i])) {
            check(near(got[i], exact[i], 0), what, rows, columns, depth, got[i], exact[i]);
            continue;
        }
        largest = fmax(largest, fabs(exact[i]));
        plain_error = fmax(plain_error, fabs(plain[i] - exact[i]));
        error = isnan(got[i]) ? INFINITY : fmax(error, fabs(got[i] - exact[i]));
    }
    double tolerance = 2 * plain_error + 4 * ldexp(1, ilogb(fmax(largest, 0x1p-126)) - 23);
    check(error <= tolerance, what, rows, columns, depth, error, tolerance);
}

static void fill(float *x, size_t count, float bound) {
    for (size_t i = 0; i < count; i++) x[i] = bound * random_float();
}

static void widen(double *out, const float *x, size_t count) {
    for (size_t i = 0; i < count; i++) out[i] = x[i];
}

// MARK: - Tiles

enum { SIDE = 80, AREA = SIDE * SIDE };

typedef void (*tile_function)(float *, size_t, const float *, size_t, const float *, size_t, size_t, size_t,
                              size_t);

static void tested_dot_stored(float *out, size_t out_stride, const float *a, size_t a_stride, const float *b,
                              size_t b_stride, size_t rows, size_t columns, size_t depth);

static void check_tile(const char *what, tile_function got, tile_function expected, size_t rows,
                       size_t columns, size_t depth, const float *a, size_t a_stride, const float *b,
                       size_t b_stride, double largest_term) {
    static float out[AREA], wanted[AREA], single;
    for (size_t i = 0; i < AREA; i++) out[i] = wanted[i] = guard;
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < columns; c++) out[r * SIDE + c] = wanted[r * SIDE + c] = 0.25f;
    got(out, SIDE, a, a_stride, b, b_stride, rows, columns, depth);
    expected(wanted, SIDE, a, a_stride, b, b_stride, rows, columns, depth);
    // The rounding of each of `depth` additions to a sum of at most depth · largest_term.
    double tolerance = (double)(depth * depth + 1) * largest_term * 0x1p-23;
    for (size_t i = 0; i < AREA; i++) {
        bool inside = i % SIDE < columns && i / SIDE < rows;
        check(inside ? near(out[i], wanted[i], tolerance) : out[i] == guard, what, rows, columns, depth,
              out[i], wanted[i]);
    }
    // Alone, an element has the same bits.
    size_t r = rows - 1, c = columns - 1;
    bool by_rows = got == tested->dot_rows || got == tested_dot_stored;
    single = 0.25f;
    got(&single, 1, a + r * a_stride, a_stride, by_rows ? b + c * b_stride : b + c, b_stride, 1, 1, depth);
    check(memcmp(&single, &out[r * SIDE + c], sizeof single) == 0, "alone", rows, columns, depth, single,
          out[r * SIDE + c]);
}

static float weights[SIDE];
static void tested_additive(float *out, size_t out_stride, const float *a, size_t a_stride, const float *b,
                            size_t b_stride, size_t rows, size_t columns, size_t depth) {
    TESTED(additive)(out, out_stride, a, a_stride, b, b_stride, rows, columns, depth, weights);
}
static void reference_additive(float *out, size_t out_stride, const float *a, size_t a_stride, const float *b,
                               size_t b_stride, size_t rows, size_t columns, size_t depth) {
    reference->additive(out, out_stride, a, a_stride, b, b_stride, rows, columns, depth, weights);
}

/// b as it is stored for `dot_stored` and `product_add_stored`; the tile check gives it as floats.
static sattn_weight_type stored_type;
static const void *stored(const float *b) {
    static uint16_t halves[AREA + 64];
    if (stored_type == SATTN_FLOAT32) return b;
    // A tile reads at most AREA elements, of which those that matter lie within.
    for (size_t i = 0; i < AREA; i++) {
        if (stored_type == SATTN_FLOAT16)
            reference->encode_float16(halves + i, b + i, 1);
        else
            reference->encode_bfloat16(halves + i, b + i, 1);
    }
    return halves;
}
#define STORED(table, function) \
    static void table(float *out, size_t out_stride, const float *a, size_t a_stride, const float *b, \
                      size_t b_stride, size_t rows, size_t columns, size_t depth) { \
        function(out, out_stride, a, a_stride, stored(b), b_stride, stored_type, rows, columns, depth); \
    }
STORED(tested_dot_stored, TESTED(dot_stored))
STORED(reference_dot_stored, reference->dot_stored)
STORED(tested_product_add_stored, TESTED(product_add_stored))
STORED(reference_product_add_stored, reference->product_add_stored)

static void check_tiles(void) {
    static const size_t sizes[] = {1, 2, 3, 4, 5, 6, 7, 8, 13, 16, 17, 31, 33, 67};
    static const size_t depths[] = {0, 1, 3, 4, 5, 17, 64};
    static float a[AREA + 1], b[2 * AREA + 1];
    for (size_t i = 0; i < SIDE; i++) weights[i] = random_float();
    for (size_t r = 0; r < sizeof sizes / sizeof *sizes; r++)
        for (size_t c = 0; c < sizeof sizes / sizeof *sizes; c++)
            for (size_t k = 0; k < sizeof depths / sizeof *depths; k++) {
                for (size_t i = 0; i <= AREA; i++) a[i] = random_float(), b[i] = random_float();
        // + 1: no better aligned than a float.
#define CHECK(name, largest) \
    check_tile(#name, TESTED(name), reference->name, sizes[r], sizes[c], depths[k], a + 1, SIDE - 3, b + 1, \
               SIDE - 5, largest)
                CHECK(product, 1);
                CHECK(product_add, 1);
                CHECK(squared_distance, 4);
                CHECK(absolute_distance, 2);
                CHECK(dot_rows, 1);
                for (int type = SATTN_FLOAT32; type <= SATTN_BFLOAT16; type++) {
                    stored_type = (sattn_weight_type)type;
                    check_tile("dot_stored", tested_dot_stored, reference_dot_stored, sizes[r], sizes[c], depths[k],
                               a + 1, SIDE - 3, b + 1, SIDE - 5, 1);
                    check_tile("product_add_stored", tested_product_add_stored, reference_product_add_stored,
                               sizes[r], sizes[c], depths[k], a + 1, SIDE - 3, b + 1, SIDE - 5, 1);
                }
                check_tile("additive", tested_additive, reference_additive, sizes[r], sizes[c], depths[k],
                           a + 1, SIDE - 3, b + 1, SIDE - 5, 2);
                if (depths[k] == 0) continue;
                // NaN and ∞ reach what is computed from them, and no other element.
                a[1 + (sizes[r] / 2) * (SIDE - 3) + depths[k] / 2] = NAN;
                b[1 + (depths[k] / 2) * (SIDE - 5) + sizes[c] / 2] = INFINITY;
                CHECK(product, 1);
                CHECK(squared_distance, 4);
                CHECK(absolute_distance, 2);
                check_tile("additive", tested_additive, reference_additive, sizes[r], sizes[c], depths[k],
                           a + 1, SIDE - 3, b + 1, SIDE - 5, 2);
#undef CHECK
            }
}

/// `product_packed` has the bits of `product` and `product_add`, which are held against the scalar ones above.
static void check_packed(void) {
    static const size_t sizes[] = {1, 2, 3, 5, 6, 7, 8, 13, 15, 16, 17, 31, 33, 64, 67};
    static const size_t depths[] = {0, 1, 3, 17, 64};
    enum { NOTHING, ROW_FOR_ALL, OUTPUT };
    static float a[AREA + 1], b[AREA], row_for_all[SIDE], panels[4 * AREA], out[AREA], wanted[AREA];
    size_t width = TESTED(tile_columns);
    for (size_t r = 0; r < sizeof sizes / sizeof *sizes; r++)
        for (size_t c = 0; c < sizeof sizes / sizeof *sizes; c++)
            for (size_t k = 0; k < sizeof depths / sizeof *depths; k++)
                for (int start = NOTHING; start <= OUTPUT; start++) {
                    size_t rows = sizes[r], columns = sizes[c], depth = depths[k], stride = depth * width + 5;
                    for (size_t i = 0; i < AREA; i++) a[i] = random_float(), b[i] = random_float();
                    for (size_t i = 0; i < SIDE; i++) row_for_all[i] = random_float();
                    // What the last panel lacks in columns is not to be read.
                    for (size_t i = 0; i < sizeof panels / sizeof *panels; i++) panels[i] = NAN;
                    for (size_t d = 0; d < depth; d++)
                        for (size_t j = 0; j < columns; j++)
                            panels[j / width * stride + d * width + j % width] = b[d * SIDE + j];
                    for (size_t i = 0; i < AREA; i++) {
                        bool inside = i % SIDE < columns && i / SIDE < rows;
                        float from = start == ROW_FOR_ALL ? row_for_all[i % SIDE] : (float)(i % 17) / 8;
                        wanted[i] = inside ? from : guard;
                        out[i] = !inside ? guard : start == OUTPUT ? from : NAN;
                    }
                    (start == NOTHING ? tested->product : tested->product_add)(wanted, SIDE, a + 1, SIDE - 3, b,
                                                                               SIDE, rows, columns, depth);
                    const float *starts[] = {NULL, row_for_all, out};
                    TESTED(product_packed)(out, SIDE, starts[start], start == OUTPUT ? SIDE : 0, a + 1, SIDE - 3,
                                           panels, stride, rows, columns, depth);
                    for (size_t i = 0; i < AREA; i++)
                        check(memcmp(&out[i], &wanted[i], sizeof *out) == 0, "product_packed", rows, columns, depth,
                              out[i], wanted[i]);
                }
}

static void check_transpose_and_sums(void) {
    static float x[AREA + 1], out[AREA], sums[2][SIDE];
    for (size_t rows = 0; rows < 70; rows += rows < 34 ? 1 : 11)
        for (size_t columns = 0; columns < 70; columns += columns < 34 ? 1 : 11) {
            for (size_t i = 0; i <= AREA; i++) x[i] = random_float();
            for (size_t i = 0; i < AREA; i++) out[i] = guard;
            TESTED(transpose)(out, SIDE, x + 1, SIDE - 3, rows, columns);
            for (size_t i = 0; i < AREA; i++) {
                size_t c = i / SIDE, r = i % SIDE;
                float expected = c < columns && r < rows ? x[1 + r * (SIDE - 3) + c] : guard;
                check(out[i] == expected, "transpose", rows, columns, 0, out[i], expected);
            }
            // Each column is summed in ascending order, so that its bits are those of any other version.
            for (size_t i = 0; i < SIDE; i++) sums[0][i] = sums[1][i] = i < columns ? (float)i : guard;
            TESTED(column_sums)(sums[0], x + 1, SIDE - 3, rows, columns);
            reference->column_sums(sums[1], x + 1, SIDE - 3, rows, columns);
            for (size_t i = 0; i < SIDE; i++)
                check(sums[0][i] == sums[1][i], "column_sums", rows, columns, 0, sums[0][i], sums[1][i]);
        }
}

// MARK: - Functions of each element

/// The distance in units of the last place of `expected`, rounded to float.
static double ulps(float got, double expected) {
    if (isnan(expected)) return isnan(got) ? 0 : INFINITY;
    float rounded = (float)expected;
    if (got == rounded) return 0;
    if (isinf(rounded) || isinf(got)) return INFINITY;
    double place = ldexp(1, ilogbf(fabsf(rounded) < 0x1p-126f ? 0x1p-126f : rounded) - 23);
    return fabs(got - expected) / place;
}

static double double_silu(double x) {
    return x / (1 + exp(-x));
}

static double double_sigmoid(double x) {
    return 1 / (1 + exp(-x));
}

static double double_gelu(double x) {
    return x * erfc(-x * M_SQRT1_2) / 2;
}

static double double_gelu_tanh(double x) {
    return x / (1 + exp(-2 * sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
}

static void check_each(const char *what, void (*got)(float *, const float *, size_t),
                       double (*expected)(double), float from, float to, double allowed_ulps,
                       double allowed_error) {
    enum { COUNT = 200003 };
    static float x[COUNT], y[COUNT];
    double worst = 0;
    for (size_t i = 0; i < COUNT; i++) x[i] = from + (to - from) * ((float)i / COUNT);
    got(y, x, COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        double wanted = expected(x[i]), error = ulps(y[i], wanted);
        bool holds = error <= allowed_ulps || fabs(y[i] - wanted) <= allowed_error;
        if (fabs(y[i] - wanted) > allowed_error && error > worst) worst = error;
        check(holds, what, 1, i, 0, y[i], wanted);
    }
    printf("%-18s from %g to %g: at most %.2f ulp\n", what, from, to, worst);
}

/// exp, which is `exp_sum` without a shift.
static void exp_each(float *out, const float *x, size_t count) {
    memmove(out, x, count * sizeof *x);
    TESTED(exp_sum)(out, count, 0);
}

static void check_functions(void) {
    check_each("exp", exp_each, exp, -87.3f, 88.7f, 2, 0);
    check_each("tanh", TESTED(tanh), tanh, -12, 12, 3, 0);
    check_each("tanh", TESTED(tanh), tanh, -1e-3f, 1e-3f, 3, 0);
    check_each("silu", TESTED(silu), double_silu, -80, 80, 5, 1e-37);
    check_each("sigmoid", TESTED(sigmoid), double_sigmoid, -87, 30, 3, 0);
    check_each("gelu", TESTED(gelu), double_gelu, -12, 12, 6, 0);
    check_each("gelu", TESTED(gelu), double_gelu, -1e-3f, 1e-3f, 6, 0);
    check_each("gelu_tanh", TESTED(gelu_tanh), double_gelu_tanh, -3, 12, 16, 0);
    check_each("gelu_tanh", TESTED(gelu_tanh), double_gelu_tanh, -20, -3, 0, 1e-8);

    const float x[] = {-INFINITY, INFINITY, NAN, 0, -200, 200, -87.4f, 89};
    const float exps[] = {0, INFINITY, NAN, 1, 0, INFINITY, 0, INFINITY};
    const float tanhs[] = {-1, 1, NAN, 0, -1, 1, -1, 1};
    const float sigmoids[] = {0, 1, NAN, 0.5, 0, 1, 0, 1};
    const float silus[] = {0, INFINITY, NAN, 0, 0, 200, 0, 89};
    float caps[8];
    for (size_t i = 0; i < 8; i++) caps[i] = 30 * tanhf(x[i] / 30);
    float y[8];
    for (size_t count = 1; count <= 8; count++) {
#define CHECK_SPECIAL(name, wanted) \
    TESTED(name)(y, x, count); \
    for (size_t i = 0; i < count; i++) check(near(y[i], wanted[i], 1e-30), #name, 1, i, 0, y[i], wanted[i])
        exp_each(y, x, count);
        for (size_t i = 0; i < count; i++) check(near(y[i], exps[i], 1e-30), "exp", 1, i, 0, y[i], exps[i]);
        CHECK_SPECIAL(tanh, tanhs);
        CHECK_SPECIAL(sigmoid, sigmoids);
        CHECK_SPECIAL(relu, silus);
        CHECK_SPECIAL(silu, silus);
        CHECK_SPECIAL(gelu, silus);
        CHECK_SPECIAL(gelu_tanh, silus);
        memcpy(y, x, sizeof y);
        TESTED(soft_cap)(y, count, 30);
        for (size_t i = 0; i < count; i++)
            check(near(y[i], caps[i], 1e-5), "soft_cap", 1, i, 0, y[i], caps[i]);
    }
    for (size_t count = 0; count < 70; count++) {
        float got[71], wanted[71];
        for (size_t i = 0; i < 71; i++) got[i] = wanted[i] = 10 * random_float();
        if (count > 4) got[count - 2] = wanted[count - 2] = NAN;
        float largest = TESTED(maximum)(got, count);
        check(near(largest, reference->maximum(got, count), 0), "maximum", 1, count, 0, largest, 0);
        if (count > 4) got[count - 2] = wanted[count - 2] = -INFINITY;
        float sum = TESTED(exp_sum)(got, count, 3), wanted_sum = reference->exp_sum(wanted, count, 3);
        check(near(sum, wanted_sum, 1e-5 * wanted_sum), "exp_sum", 1, count, 0, sum, wanted_sum);
        TESTED(scale)(got, count, 0.7f);
        reference->scale(wanted, count, 0.7f);
        for (size_t i = 0; i < 71; i++)
            check(near(got[i], wanted[i], 1e-6 * fabs(wanted[i])), "exp_sum and scale", 1, count, 0, got[i],
                  wanted[i]);
    }
}

/// A function of each element.
typedef struct {
    const char *name;
    void (*function)(float *, const float *, size_t);
} map;

/// A function of two elements, its plain version, and where it is a gradient its slope in Double.
typedef struct {
    const char *name;
    void (*function)(float *, const float *, const float *, size_t);
    void (*plain)(float *, const float *, const float *, size_t);
    double (*slope)(double);
} map_of_two;

static double tanh_slope(double y) {
    return 1 - y * y;
}

static double sigmoid_slope(double y) {
    return y * (1 - y);
}

static double relu_slope(double x) {
    return x > 0;
}

static double silu_slope(double x) {
    double s = double_sigmoid(x);
    return s * (1 + x * (1 - s));
}

static double gelu_slope(double x) {
    return erfc(-x * M_SQRT1_2) / 2 + x * exp(-x * x / 2) / sqrt(2 * M_PI);
}

static double gelu_tanh_slope(double x) {
    double root = sqrt(2 / M_PI), s = double_sigmoid(2 * root * (x + 0.044715 * x * x * x));
    return s + x * s * (1 - s) * 2 * root * (1 + 3 * 0.044715 * x * x);
}

static void check_slopes(map_of_two gradient) {
    enum { COUNT = 100003 };
    static float x[COUNT], of_output[COUNT], out[COUNT];
    // What tanh and sigmoid return, or what the others take.
    bool takes_result = gradient.slope == tanh_slope || gradient.slope == sigmoid_slope;
    float bound = takes_result ? 1 : 11;
    double worst = 0;
    for (size_t i = 0; i < COUNT; i++) {
        x[i] = -bound + 2 * bound * ((float)i / COUNT);
        of_output[i] = (float)(i % 7) - 3.25f;
    }
    gradient.function(out, x, of_output, COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        // Slopes cross 0, and are no larger than about 1, or 2 at a negative y; 1 - σ(x) is rounded before it meets x.
        double wanted = of_output[i] * gradient.slope(x[i]);
        double error = fabs((out[i] - wanted) / of_output[i]) / fmax(1, (double)x[i] * x[i]);
        if (!(error <= worst)) worst = error;
        check(error <= 4 * 0x1p-24, gradient.name, 1, i, 0, out[i], wanted);
    }
    printf("%-18s from %g to %g: at most %.2f roundings\n", gradient.name, -bound, bound, worst * 0x1p24);
    if (takes_result) return;
    const float ends[] = {-INFINITY, -1e30f, -200, 200, 1e30f, INFINITY, NAN, 1};
    const float ones[] = {1, 1, 1, 1, 1, 1, 1, NAN}, slopes[] = {0, 0, 0, 1, 1, 1, NAN, NAN};
    gradient.function(out, ends, ones, 8);
    for (size_t i = 0; i < 8; i++) {
        // NaN is not above 0, where relu has a slope.
        float wanted = gradient.slope == relu_slope && isnan(ends[i]) ? 0 : slopes[i];
        check(near(out[i], wanted, 0), gradient.name, 1, i, 0, out[i], wanted);
    }
}

/// Every count is written, in place and alone with the same bits.
static void check_counts(void) {
    const map maps[] = {
        {"exp", exp_each},   {"tanh", TESTED(tanh)}, {"sigmoid", TESTED(sigmoid)},     {"relu", TESTED(relu)},
        {"silu", TESTED(silu)}, {"gelu", TESTED(gelu)}, {"gelu_tanh", TESTED(gelu_tanh)},
    };
#define GRADIENT(name) {#name "_gradient", TESTED(name##_gradient), reference->name##_gradient, name##_slope}
#define ARITHMETIC(name) {#name, TESTED(name), reference->name, NULL}
    const map_of_two pairs[] = {
        GRADIENT(tanh), GRADIENT(sigmoid), GRADIENT(relu),       GRADIENT(silu),      GRADIENT(gelu),
        GRADIENT(gelu_tanh), ARITHMETIC(add),   ARITHMETIC(subtract), ARITHMETIC(multiply),
    };
    float x[71], y[71], out[71], again[71], alone;
    for (size_t count = 0; count < 71; count++) {
        for (size_t i = 0; i < 71; i++) x[i] = 4 * random_float(), y[i] = 4 * random_float();
        for (size_t m = 0; m < sizeof maps / sizeof *maps; m++) {
            for (size_t i = 0; i < 71; i++) out[i] = guard, again[i] = i < count ? x[i] : guard;
            maps[m].function(out, x, count);
            maps[m].function(again, again, count);
            check(same(again, out, 71), "in place", 1, count, 0, again[0], out[0]);
            check(out[count] == guard, maps[m].name, 1, count, 0, out[count], guard);
            for (size_t i = 0; i < count; i++) {
                maps[m].function(&alone, x + i, 1);
                check(same(&alone, out + i, 1), maps[m].name, 1, count, i, alone, out[i]);
            }
        }
        for (size_t p = 0; p < sizeof pairs / sizeof *pairs; p++) {
            for (int place = 0; place < 2; place++) {
                for (size_t i = 0; i < 71; i++) out[i] = guard, again[i] = i < count ? (place ? y : x)[i] : guard;
                pairs[p].function(out, x, y, count);
                pairs[p].function(again, place ? x : again, place ? again : y, count);
                check(same(again, out, 71), "in place", 1, count, p, again[0], out[0]);
            }
            for (size_t i = 0; i < count; i++) {
                pairs[p].function(&alone, x + i, y + i, 1);
                check(same(&alone, out + i, 1), pairs[p].name, 1, count, i, alone, out[i]);
            }
            if (pairs[p].slope != NULL) continue;
            // Rounded once: the bits of plain C.
            pairs[p].plain(again, x, y, count);
            check(same(again, out, count), pairs[p].name, 1, count, 0, again[0], out[0]);
        }
    }
    for (size_t p = 0; p < sizeof pairs / sizeof *pairs; p++)
        if (pairs[p].slope != NULL) check_slopes(pairs[p]);
}

// MARK: - Sums of squares and steps of optimizers

static void check_steps(void) {
    enum { COUNT = 71 };
    const sattn_kernels_float64 *exact = sattn_kernels_float64_current();
    float x[COUNT], y[COUNT], z[COUNT], gradient[COUNT];
    double exact_x[COUNT], exact_y[COUNT], exact_z[COUNT], exact_gradient[COUNT];
    for (size_t count = 0; count < COUNT; count++) {
        for (size_t i = 0; i < COUNT; i++) {
            gradient[i] = random_float();
            exact_x[i] = x[i] = i < count ? random_float() : guard;
            exact_y[i] = y[i] = i < count ? random_float() : guard;
            exact_z[i] = z[i] = i < count ? fabsf(random_float()) : guard;
            exact_gradient[i] = gradient[i];
        }
#define CHECK_NEAR(what, got, wanted, tolerance) \
    for (size_t i = 0; i < COUNT; i++) \
        check(near(got[i], wanted[i], i < count ? tolerance : 0), what, 1, count, i, got[i], wanted[i])
        double square_sum = 0;
        for (size_t i = 0; i < count; i++) square_sum += exact_gradient[i] * exact_gradient[i];
        double got = TESTED(sum_of_squares)(gradient, count);
        check(near(got, square_sum, 1e-14 * square_sum), "sum_of_squares", 1, count, 0, got, square_sum);

        for (int is_decoupled = 0; is_decoupled < 2; is_decoupled++) {
            float added = is_decoupled ? 0 : 0.125f, kept = is_decoupled ? 0.9375f : 1;
            sattn_adam step = {0.75f, added, kept, 0.125f, 0.9375f, 0.0625f, 0.03125f, 1.5f, 0x1p-20f};
            sattn_adam_float64 exact_step = {0.75, added, kept, 0.125, 0.9375, 0.0625, 0.03125, 1.5, 0x1p-20};
            TESTED(adam_step)(x, gradient, y, z, count, &step);
            exact->adam_step(exact_x, exact_gradient, exact_y, exact_z, count, &exact_step);
        }
        CHECK_NEAR("adam_step", x, exact_x, 1e-6);
        CHECK_NEAR("adam_step, first", y, exact_y, 1e-6);
        CHECK_NEAR("adam_step, second", z, exact_z, 1e-6);

        for (int is_nesterov = 0; is_nesterov < 2; is_nesterov++) {
            sattn_momentum step = {0.75f, 0.125f, 0.0625f, 0.875f, is_nesterov};
            sattn_momentum_float64 exact_step = {0.75, 0.125, 0.0625, 0.875, is_nesterov};
            TESTED(momentum_step)(x, gradient, y, count, &step);
            exact->momentum_step(exact_x, exact_gradient, exact_y, count, &exact_step);
            TESTED(momentum_step)(x, gradient, NULL, count, &step);
            exact->momentum_step(exact_x, exact_gradient, NULL, count, &exact_step);
        }
        CHECK_NEAR("momentum_step", x, exact_x, 2e-6);
        CHECK_NEAR("momentum_step, velocity", y, exact_y, 2e-6);
    }
    // Squares that no float holds, and NaN.
    float large[19];
    for (size_t i = 0; i < 19; i++) large[i] = 1e30f;
    double sum = TESTED(sum_of_squares)(large, 19), wanted = 19 * ((double)1e30f * 1e30f);
    check(near(sum, wanted, 1e-14 * wanted), "sum_of_squares", 1, 19, 0, sum, wanted);
    large[17] = NAN;
    sum = TESTED(sum_of_squares)(large, 19);
    check(isnan(sum), "sum_of_squares", 1, 19, 0, sum, NAN);
}

// MARK: - Stored weights

static void check_stored(void) {
    enum { COUNT = 65536 };
    static uint16_t patterns[COUNT], got16[COUNT], wanted16[COUNT];
    static float got[COUNT], wanted[COUNT];
    for (size_t i = 0; i < COUNT; i++) patterns[i] = (uint16_t)i;
    for (sattn_weight_type type = SATTN_FLOAT16; type <= SATTN_Q4_1; type++) {
        // As blocks, any bytes will do: scales of every kind occur. Counts that are not whole vectors first.
        size_t count = type <= SATTN_BFLOAT16 ? COUNT : 65536;
        const uint8_t *source = (const uint8_t *)patterns;
        if (type == SATTN_Q8_0) count = 2 * COUNT / 34 * 32 < COUNT ? 2 * COUNT / 34 * 32 : COUNT;
        TESTED(decode)(got, source, type, count);
        reference->decode(wanted, source, type, count);
        for (size_t i = 0; i < count; i++) {
            bool same = isnan(wanted[i]) ? isnan(got[i]) : memcmp(&got[i], &wanted[i], 4) == 0;
            check(same, "decode", 1, i, type, got[i], wanted[i]);
        }
        if (type > SATTN_BFLOAT16) continue;
        for (size_t part = 0; part < 40; part++) {
            float few[41];
            for (size_t i = 0; i < 41; i++) few[i] = guard;
            TESTED(decode)(few, patterns + 1000, type, part);
            for (size_t i = 0; i < 41; i++) {
                float expected = i < part ? wanted[1000 + i] : guard;
                check(few[i] == expected, "decode of a few", 1, part, type, few[i], expected);
            }
        }
    }
    int8_t quants[96], wanted_quants[96];
    // The scales of all blocks, and then the sums.
    enum { blocks = 96 / SATTN_ACTIVATION_BLOCK };
    float scales[2 * blocks], wanted_scales[2 * blocks];
    for (size_t start = 0; start + 96 <= COUNT; start += 96) {
        TESTED(quantize)(quants, scales, scales + blocks, wanted + start, 96);
        reference->quantize(wanted_quants, wanted_scales, wanted_scales + blocks, wanted + start, 96);
        check(memcmp(quants, wanted_quants, 96) == 0, "quantize", 1, start, 0, quants[0], wanted_quants[0]);
        for (size_t i = 0; i < 2 * blocks; i++) {
            bool same = isnan(wanted_scales[i]) ? isnan(scales[i]) : scales[i] == wanted_scales[i];
            check(same, "quantize", 1, start, i, scales[i], wanted_scales[i]);
        }
    }
    for (uint64_t first = 0; first < (uint64_t)1 << 32; first += (uint64_t)COUNT * 1009) {
        for (size_t i = 0; i < COUNT; i++) {
            uint32_t bits = (uint32_t)(first + i * 1009);
            memcpy(&got[i], &bits, 4);
        }
        TESTED(encode_float16)(got16, got, COUNT - 3);
        reference->encode_float16(wanted16, got, COUNT - 3);
        for (size_t i = 0; i < COUNT - 3; i++)
            check(got16[i] == wanted16[i], "encode_float16", 1, i, 0, got16[i], wanted16[i]);
        TESTED(encode_bfloat16)(got16, got, COUNT - 3);
        reference->encode_bfloat16(wanted16, got, COUNT - 3);
        for (size_t i = 0; i < COUNT - 3; i++)
            check(got16[i] == wanted16[i], "encode_bfloat16", 1, i, 0, got16[i], wanted16[i]);
    }
}

// MARK: - Steps of recurrent layers

/// Gates, 4 rows of `UNITS`, and rows of a unit's other numbers, each row with one element more than is used.
enum { UNITS = 40, STRIDE = UNITS + 1, LENGTH = 4 * STRIDE };

static void check_cells(const char *what, size_t count, const float *got, const float *expected) {
    for (size_t i = 0; i < LENGTH; i++)
        check(i % STRIDE < count ? near(got[i], expected[i], 4e-6) : got[i] == guard, what, 1, count, i, got[i],
              expected[i]);
}

static void check_recurrent(void) {
    // The functions of a table write `written`, rows of numbers, and read the others.
    float gates[2][LENGTH], gradients[2][LENGTH], written[2][LENGTH], previous[UNITS], terms[UNITS], of_output[UNITS];
    for (size_t count = 1; count <= UNITS; count++) {
        for (size_t i = 0; i < UNITS; i++) {
            previous[i] = random_float();
            terms[i] = random_float();
            of_output[i] = random_float();
        }
        for (int cell = 0; cell < 2; cell++) {
            for (size_t i = 0; i < LENGTH; i++) {
                bool inside = i % STRIDE < count;
                gates[0][i] = gates[1][i] = inside ? 3 * random_float() : guard;
                written[0][i] = written[1][i] = inside ? random_float() : guard;
                gradients[0][i] = gradients[1][i] = inside ? 0 : guard;
            }
            for (int t = 0; t < 2; t++) {
                float *rows = written[t];
#define RUN(entry) (t == 0 ? TESTED(entry) : reference->entry)
                if (cell == 0) {
                    RUN(lstm_cell)(gates[t], STRIDE, previous, rows, rows + STRIDE, count);
                    RUN(lstm_cell_gradient)(gradients[t], rows + 2 * STRIDE, of_output, gates[t], STRIDE, previous,
                                            rows, count);
                } else {
                    RUN(gru_cell)(gates[t], STRIDE, terms, previous, rows, count);
                    RUN(gru_cell_gradient)(gradients[t], rows + STRIDE, rows + 2 * STRIDE, of_output, gates[t],
                                           STRIDE, terms, previous, count);
                }
#undef RUN
            }
            check_cells(cell == 0 ? "lstm_cell" : "gru_cell", count, gates[0], gates[1]);
            check_cells(cell == 0 ? "lstm_cell" : "gru_cell", count, written[0], written[1]);
            check_cells(cell == 0 ? "lstm_cell_gradient" : "gru_cell_gradient", count, gradients[0], gradients[1]);
        }
    }
}

// MARK: - Threads

static void count_visit(void *visits, size_t index) {
    atomic_fetch_add((atomic_int *)visits + index, 1);
}

static void check_threads(void) {
    static atomic_int visits[100];
    sattn_set_thread_count(4);
    for (int call = 1; call <= 1000; call++) {
        sattn_parallel(100, visits, count_visit);
        for (size_t i = 0; i < 100; i++) check(visits[i] == call, "sattn_parallel", 1, i, 0, visits[i], call);
    }
    sattn_set_thread_count(1);
}

// MARK: - Products with stored matrices

/// Numbers as they are stored, from an odd address on: any alignment will do.
static uint8_t stored_bytes[4 * AREA + 1];

/// Stores numbers, and rounds them to what is stored.
static const void *store_rounded(float *x, sattn_weight_type type, size_t count) {
    uint8_t *bytes = stored_bytes + 1;
    if (type == SATTN_FLOAT32) return memcpy(bytes, x, 4 * count);
    static uint16_t halves[AREA];
    (type == SATTN_FLOAT16 ? reference->encode_float16 : reference->encode_bfloat16)(halves, x, count);
    reference->decode(x, halves, type, count);
    return memcpy(bytes, halves, 2 * count);
}

/// `product_transposed` has the bits of `product` and `product_add` with b turned, and `transpose_stored` turns it.
static void check_stored_products(void) {
    static const size_t sizes[] = {1, 2, 3, 4, 5, 7, 8, 9, 13, 16, 17, 33, 67}, depths[] = {0, 1, 2, 3, 7, 8, 9, 17, 64};
    enum { NOTHING, ROW_FOR_ALL, OUTPUT };
    static float a[AREA], b[AREA], turned[AREA], row_for_all[SIDE], out[AREA], wanted[AREA];
    for (size_t r = 0; r < sizeof sizes / sizeof *sizes; r++)
        for (size_t c = 0; c < sizeof sizes / sizeof *sizes; c++)
            for (size_t k = 0; k < sizeof depths / sizeof *depths; k++)
                for (int type = SATTN_FLOAT32; type <= SATTN_BFLOAT16; type++) {
                    size_t rows = sizes[r], columns = sizes[c], depth = depths[k];
                    fill(a, AREA, 1), fill(b, AREA, 1), fill(row_for_all, SIDE, 1);
                    const void *source = store_rounded(b, (sattn_weight_type)type, AREA);
                    for (size_t i = 0; i < AREA; i++) turned[i] = guard, wanted[i] = guard;
                    for (size_t j = 0; j < columns; j++)
                        for (size_t d = 0; d < depth; d++) wanted[d * SIDE + j] = b[j * (SIDE - 3) + d];
                    TESTED(transpose_stored)(turned, SIDE, source, (sattn_weight_type)type, SIDE - 3, columns, depth);
                    check(same(turned, wanted, AREA), "transpose_stored", columns, depth, type, 0, 0);
                    for (int start = NOTHING; start <= OUTPUT; start++) {
                        for (size_t i = 0; i < AREA; i++) {
                            bool inside = i % SIDE < columns && i / SIDE < rows;
                            float from = start == ROW_FOR_ALL ? row_for_all[i % SIDE] : (float)(i % 17) / 8;
                            wanted[i] = inside ? from : guard;
                            out[i] = !inside ? guard : start == OUTPUT ? from : NAN;
                        }
                        (start == NOTHING ? tested->product : tested->product_add)(wanted, SIDE, a, SIDE - 5, turned,
                                                                                   SIDE, rows, columns, depth);
                        const float *starts[] = {NULL, row_for_all, out};
                        TESTED(product_transposed)(out, SIDE, starts[start], start == OUTPUT ? SIDE : 0, a, SIDE - 5,
                                                   source, (sattn_weight_type)type, SIDE - 3, rows, columns, depth);
                        check(same(out, wanted, AREA), "product_transposed", rows, columns, depth, 0, 0);
                    }
                }
}

/// Products of bfloat16 are exact in float32, and both tables add them in the same order: the same bits.
static void check_bfloat16_products(void) {
    static const size_t sizes[] = {1, 2, 3, 4, 5, 6, 7, 8, 13, 16, 17, 33, 67}, depths[] = {0, 1, 2, 3, 4, 5, 9, 32};
    static float numbers[2 * AREA], out[AREA], wanted[AREA];
    static uint16_t a[AREA], b[AREA];
    static uint32_t panels[2 * AREA];
    // A choice of the kernel's own, which must be one.
    check(TESTED(bfloat16_rows) > 0, "bfloat16_rows", 0, 0, 0, 0, 0);
    for (size_t r = 0; r < sizeof sizes / sizeof *sizes; r++)
        for (size_t c = 0; c < sizeof sizes / sizeof *sizes; c++)
            for (size_t k = 0; k < sizeof depths / sizeof *depths; k++) {
                size_t rows = sizes[r], columns = sizes[c], pairs = depths[k];
                fill(numbers, 2 * AREA, 1);
                reference->encode_bfloat16(a, numbers, AREA);
                reference->encode_bfloat16(b, numbers + AREA, AREA);
#define CLEAR(x, value) \
    for (size_t i = 0; i < AREA; i++) x[i] = i % SIDE < columns && i / SIDE < rows ? value : guard
                CLEAR(out, NAN);
                CLEAR(wanted, NAN);
                TESTED(product_transposed_bfloat16)(out, SIDE, a, SIDE, b, SIDE - 2, rows, columns, pairs);
                reference->product_transposed_bfloat16(wanted, SIDE, a, SIDE, b, SIDE - 2, rows, columns, pairs);
                check(same(out, wanted, AREA), "product_transposed_bfloat16", rows, columns, pairs, 0, 0);
                for (int continues = 0; continues < 2; continues++) {
                    float start = continues ? 0.25f : NAN;
                    CLEAR(out, start);
                    CLEAR(wanted, start);
                    for (int t = 0; t < 2; t++) {
                        size_t width = (t == 0 ? tested : reference)->tile_columns, stride = pairs * width + 5;
                        memset(panels, 0xFF, sizeof panels);
                        for (size_t j = 0; j < columns; j++)
                            for (size_t d = 0; d < pairs; d++)
                                memcpy(panels + j / width * stride + d * width + j % width, b + j * (SIDE - 2) + 2 * d,
                                       sizeof *panels);
                        (t == 0 ? TESTED(product_packed_bfloat16) : reference->product_packed_bfloat16)(
                            t == 0 ? out : wanted, SIDE, continues, a, SIDE, panels, stride, rows, columns, pairs);
                    }
                    check(same(out, wanted, AREA), "product_packed_bfloat16", rows, columns, pairs, 0, 0);
                }
#undef CLEAR
            }
}

// MARK: - A step of attention

enum { MOST_ROWS = 24, MOST_KEYS = 272, MOST_DEPTH = 64, MOST_WIDTH = 130 };

/// A head's operands, what each query sees, and where the steps over its keys begin.
static struct {
    size_t rows, keys, depth, width;
    sattn_score operation;
    float queries[MOST_ROWS * MOST_DEPTH], key_rows[MOST_KEYS * MOST_DEPTH], values[MOST_KEYS * MOST_WIDTH];
    size_t begins[MOST_ROWS], ends[MOST_ROWS];
    size_t step;
    bool gives_scores;
} head;

/// Averages, maxima and sums of all queries, one after the other.
enum { RESULTS = MOST_ROWS * (MOST_WIDTH + 2) };

/// Defines a function that runs the steps of a table's kernel over rows `first`..<`first` + `count`.
#define RUN_STEPS(name, real, step_type) \
    static void name(void (*attend)(const step_type *), size_t panel_width, size_t first, size_t count, real *out) { \
        static real queries[MOST_ROWS * MOST_DEPTH], values[MOST_KEYS * MOST_WIDTH]; \
        static real panels[(MOST_KEYS + 64) * MOST_DEPTH], scores[MOST_ROWS * (MOST_KEYS + 64)]; \
        static uint32_t begins[MOST_ROWS], ends[MOST_ROWS]; \
        const size_t stride = MOST_KEYS + 48; \
        real *maxima = out + count * head.width, *sums = maxima + count; \
        for (size_t i = 0; i < count * head.width; i++) out[i] = 0; \
        for (size_t r = 0; r < count; r++) maxima[r] = -INFINITY, sums[r] = 0; \
        for (size_t i = 0; i < head.rows * head.depth; i++) queries[i] = head.queries[i]; \
        for (size_t i = 0; i < head.keys * head.width; i++) values[i] = head.values[i]; \
        for (size_t start = 0; start < head.keys; start += head.step) { \
            size_t keys = head.keys - start < head.step ? head.keys - start : head.step; \
            for (size_t i = 0; i < sizeof panels / sizeof *panels; i++) panels[i] = NAN; \
            for (size_t i = 0; i < sizeof scores / sizeof *scores; i++) scores[i] = NAN; \
            for (size_t j = 0; j < keys; j++) \
                for (size_t d = 0; d < head.depth; d++) \
                    panels[j / panel_width * panel_width * head.depth + d * panel_width + j % panel_width] = \
                        head.key_rows[(start + j) * head.depth + d]; \
            for (size_t r = 0; r < count; r++) { \
                size_t begin = head.begins[first + r], end = head.ends[first + r]; \
                begin = begin < start ? 0 : begin - start < keys ? begin - start : keys; \
                end = end < start ? 0 : end - start < keys ? end - start : keys; \
                begins[r] = (uint32_t)begin, ends[r] = (uint32_t)end; \
                for (size_t j = 0; head.gives_scores && j < keys; j++) { \
                    float score = 0; \
                    for (size_t d = 0; d < head.depth; d++) \
                        score += head.queries[(first + r) * head.depth + d] \
                                 * head.key_rows[(start + j) * head.depth + d]; \
                    scores[r * stride + j] = j >= begin && j < end ? score : -INFINITY; \
                } \
            } \
            step_type step = { \
                .rows = count, .keys = keys, .depth = head.depth, .width = head.width, \
                .queries = queries + first * head.depth, .query_stride = head.depth, \
                .panels = head.gives_scores ? NULL : panels, .operation = head.operation, .scale = (real)0.75, \
                .begins = head.gives_scores ? NULL : begins, .ends = head.gives_scores ? NULL : ends, \
                .values = values + start * head.width, .value_stride = head.width, .scores = scores, \
                .score_stride = stride, .averages = out, .maxima = maxima, .sums = sums}; \
            attend(&step); \
        } \
        /* Relative to their sum of weights, as the output is. */ \
        for (size_t i = 0; i < count * head.width; i++) \
            if (sums[i / head.width] != 0) out[i] /= sums[i / head.width]; \
    }
RUN_STEPS(run_steps, float, sattn_attention_tile)
RUN_STEPS(run_exact_steps, double, sattn_attention_tile_float64)

static void check_attention(void) {
    static const size_t shapes[][4] = {{1, 1, 1, 1},    {6, 64, 8, 64},    {7, 67, 5, 3},  {13, 131, 64, 80},
                                       {5, 16, 3, 31},  {23, 200, 16, 130}, {2, 259, 7, 33}, {12, 48, 0, 16},
                                       {4, 70, 3, 0}};
    static float got[RESULTS], plain[RESULTS], alone[RESULTS], with_nan[RESULTS];
    static double exact[RESULTS];
    const sattn_kernels_float64 *float64 = sattn_kernels_float64_current();
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (int pattern = 0; pattern < 4; pattern++)
            // Products, distances, and scores that are given.
            for (int kind = 0; kind < 4; kind++)
                for (int parts = 0; parts < 2; parts++) {
                    size_t rows = head.rows = shapes[s][0], keys = head.keys = shapes[s][1];
                    size_t depth = head.depth = shapes[s][2], width = head.width = shapes[s][3];
                    // So that many keys weigh something: the error of one would be a matter of luck.
                    float bound = 4 / sqrtf((float)(depth + 1));
                    fill(head.queries, rows * depth, bound), fill(head.key_rows, keys * depth, bound);
                    fill(head.values, keys * width, 2);
                    head.operation = kind == 3 ? SATTN_PRODUCT : (sattn_score)kind;
                    head.gives_scores = kind == 3;
                    head.step = parts == 0 ? MOST_KEYS : 64;
                    for (size_t r = 0; r < rows; r++) {
                        size_t one = (size_t)(fabsf(random_float()) * (float)keys);
                        size_t other = (size_t)(fabsf(random_float()) * (float)keys);
                        size_t begins[] = {0, 0, keys * r / (2 * rows), one < other ? one : other};
                        size_t ends[] = {keys, keys * r / rows, keys * (r + rows) / (2 * rows), one < other ? other : one};
                        head.begins[r] = begins[pattern], head.ends[r] = ends[pattern];
                    }
                    run_steps(TESTED(attend), tested->tile_columns, 0, rows, got);
                    run_steps(reference->attend, reference->tile_columns, 0, rows, plain);
                    run_exact_steps(float64->attend, float64->tile_columns, 0, rows, exact);
                    size_t maxima = rows * width, sums = maxima + rows;
                    check_rule("attend", rows, keys, depth, got, plain, exact, maxima);
                    check_rule("attend, maxima", rows, keys, depth, got + maxima, plain + maxima, exact + maxima, rows);
                    check_rule("attend, sums", rows, keys, depth, got + sums, plain + sums, exact + sums, rows);
                    // The last query has the same bits alone, and a key that it does not see may be NaN.
                    run_steps(tested->attend, tested->tile_columns, rows - 1, 1, alone);
                    for (size_t j = 0; j < keys; j++) {
                        if (j >= head.begins[rows - 1] && j < head.ends[rows - 1]) continue;
                        for (size_t d = 0; d < depth; d++) head.key_rows[j * depth + d] = NAN;
                        for (size_t d = 0; d < width; d++) head.values[j * width + d] = INFINITY;
                    }
                    // Given scores have −∞ there, and their values are to be numbers.
                    if (!head.gives_scores) run_steps(tested->attend, tested->tile_columns, 0, rows, with_nan);
                    const float *all[] = {got, head.gives_scores ? got : with_nan};
                    for (int i = 0; i < 2; i++)
                        check(same(alone, all[i] + (rows - 1) * width, width)
                                  && same(alone + width, all[i] + maxima + rows - 1, 1)
                                  && same(alone + width + 1, all[i] + sums + rows - 1, 1),
                              "attend, alone", rows, keys, depth, alone[width], all[i][maxima + rows - 1]);
                }
}

// MARK: - The way back through attention

/// Kernels of rows and columns that lie side by side.
static void check_weights_and_gradients(void) {
    // What is written, and behind it a number per row.
    enum { COUNT = 40 * 70, DOTS = COUNT + 1, ALL = DOTS + 40 };
    static float x[COUNT], y[COUNT], got[ALL], plain[ALL];
    static double wide_x[COUNT], wide_y[COUNT], exact[ALL];
    float numbers[70];
    double wide_numbers[70];
    int32_t begins[70], ends[70];
    const sattn_kernels_float64 *float64 = sattn_kernels_float64_current();
    for (size_t rows = 0; rows < 40; rows += rows < 9 ? 1 : 10)
        for (size_t columns = 0; columns < 70; columns += columns < 34 ? 1 : 11) {
            size_t count = rows * columns;
            fill(x, COUNT, 3), fill(y, COUNT, 3);
            widen(wide_x, x, COUNT), widen(wide_y, y, COUNT);
            for (size_t i = 0; i < 70; i++) {
                // Above every score, as a maximum is; and no divisor is 0.
                wide_numbers[i] = numbers[i] = 6 + random_float();
                begins[i] = (int32_t)(i % 7) - 1, ends[i] = (int32_t)(i * 5 % 41);
            }
#define CLEAR() \
    for (size_t i = 0; i < ALL; i++) exact[i] = got[i] = plain[i] = i < count ? NAN : guard
#define COPY() \
    for (size_t i = 0; i < ALL; i++) exact[i] = got[i] = plain[i] = i < count ? x[i] : guard
#define CHECK(name) check_rule(name, rows, columns, 0, got, plain, exact, ALL)
            CLEAR();
            // The strides reach from one row into the next.
            size_t stride = columns > 3 ? columns - 3 : columns;
            TESTED(divide_rows)(got, columns, x, stride, numbers, rows, columns);
            reference->divide_rows(plain, columns, x, stride, numbers, rows, columns);
            float64->divide_rows(exact, columns, wide_x, stride, wide_numbers, rows, columns);
            CHECK("divide_rows");
            CLEAR();
            TESTED(divide_and_dot)(got, got + DOTS, x, stride, y, columns, numbers, rows, columns);
            reference->divide_and_dot(plain, plain + DOTS, x, stride, y, columns, numbers, rows, columns);
            float64->divide_and_dot(exact, exact + DOTS, wide_x, stride, wide_y, columns, wide_numbers, rows,
                                    columns);
            CHECK("divide_and_dot");
            COPY();
            TESTED(softmax_weights)(got, rows, columns, 1.5f, numbers);
            reference->softmax_weights(plain, rows, columns, 1.5f, numbers);
            float64->softmax_weights(exact, rows, columns, 1.5, wide_numbers);
            CHECK("softmax_weights");
            COPY();
            TESTED(score_gradients)(got, y, rows, columns, numbers);
            reference->score_gradients(plain, y, rows, columns, numbers);
            float64->score_gradients(exact, wide_y, rows, columns, wide_numbers);
            CHECK("score_gradients");
            for (int i = 0; i < 2; i++) {
                float hidden = i == 0 ? 0 : -INFINITY;
                COPY();
                TESTED(keep_between)(got, rows, columns, begins, ends, hidden);
                reference->keep_between(plain, rows, columns, begins, ends, hidden);
                check(same(got, plain, ALL), "keep_between", rows, columns, 0, 0, 0);
            }
#undef CLEAR
#undef COPY
#undef CHECK
        }
}

static void check_score_gradients(void) {
    static const size_t shapes[][3] = {{1, 1, 1},   {2, 3, 5},   {7, 16, 3},  {13, 17, 9}, {6, 33, 65}, {5, 47, 64},
                                       {3, 63, 70}, {11, 64, 7}, {9, 67, 0},  {4, 31, 2},  {23, 8, 17}, {12, 4, 33}};
    static float gradient[AREA], a[AREA], b[AREA], got[AREA], plain[AREA];
    static double wide_gradient[AREA], wide_a[AREA], wide_b[AREA], exact[AREA];
    const sattn_kernels_float64 *float64 = sattn_kernels_float64_current();
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        // By rows of the gradient, and by its columns.
        for (int turned = 0; turned < 2; turned++) {
            size_t rows = shapes[s][0], columns = shapes[s][1], depth = shapes[s][2];
            size_t row_step = turned ? 1 : SIDE - 1, depth_step = turned ? SIDE - 1 : 1;
            fill(gradient, AREA, 1), fill(a, AREA, 1), fill(b, AREA, 1);
            // Some are equal: the derivative of |a - b| is 0 there.
            b[depth / 2 * (SIDE - 5) + columns / 2] = a[rows / 2 * (SIDE - 3) + columns / 2];
            widen(wide_gradient, gradient, AREA), widen(wide_a, a, AREA), widen(wide_b, b, AREA);
            float single;
            size_t r = rows - 1, c = columns - 1;
#define CLEAR() \
    for (size_t i = 0; i < AREA; i++) exact[i] = got[i] = plain[i] = i % SIDE < columns && i / SIDE < rows ? 0.5f : guard; \
    single = 0.5f
#define CHECK(name) \
    check_rule(name, rows, columns, depth, got, plain, exact, AREA); \
    check(same(&single, &got[r * SIDE + c], 1), name ", alone", rows, columns, depth, single, got[r * SIDE + c])
            CLEAR();
            TESTED(product_gradient)(got, SIDE, gradient, row_step, depth_step, b, SIDE - 5, rows, columns, depth);
            reference->product_gradient(plain, SIDE, gradient, row_step, depth_step, b, SIDE - 5, rows, columns, depth);
            float64->product_gradient(exact, SIDE, wide_gradient, row_step, depth_step, wide_b, SIDE - 5, rows, columns,
                                      depth);
            tested->product_gradient(&single, 1, gradient + r * row_step, row_step, depth_step, b + c, SIDE - 5, 1, 1,
                                     depth);
            CHECK("product_gradient");
#define CHECK_DISTANCE(entry) \
    CLEAR(); \
    TESTED(entry)(got, SIDE, gradient, row_step, depth_step, a, SIDE - 3, b, SIDE - 5, rows, columns, depth); \
    reference->entry(plain, SIDE, gradient, row_step, depth_step, a, SIDE - 3, b, SIDE - 5, rows, columns, depth); \
    float64->entry(exact, SIDE, wide_gradient, row_step, depth_step, wide_a, SIDE - 3, wide_b, SIDE - 5, rows, columns, \
                   depth); \
    tested->entry(&single, 1, gradient + r * row_step, row_step, depth_step, a + r * (SIDE - 3) + c, SIDE - 3, b + c, \
                  SIDE - 5, 1, 1, depth); \
    CHECK(#entry)
            CHECK_DISTANCE(squared_distance_gradient);
            CHECK_DISTANCE(absolute_distance_gradient);
#undef CLEAR
#undef CHECK
#undef CHECK_DISTANCE
        }
}

static void check_additive_gradient(void) {
    static const size_t shapes[][3] = {{1, 1, 1}, {3, 2, 5}, {7, 5, 16}, {2, 13, 33}, {0, 3, 4}, {9, 4, 67}};
    static float gradient[AREA], queries[AREA], keys[AREA], got[3][AREA], plain[3][AREA];
    static double wide_gradient[AREA], wide_queries[AREA], wide_keys[AREA], exact[3][AREA];
    const char *sums[] = {"additive_gradient, queries", "additive_gradient, keys", "additive_gradient, weights"};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        size_t query_count = shapes[s][0], key_count = shapes[s][1], features = shapes[s][2];
        size_t counts[] = {query_count * features, key_count * features, features};
        fill(gradient, AREA, 1), fill(queries, AREA, 2), fill(keys, AREA, 2);
        // What has no gradient is not read.
        for (size_t f = 0; f < features; f++) queries[f] = NAN;
        for (size_t k = 0; k < key_count; k++) gradient[k * query_count] = 0;
        widen(wide_gradient, gradient, AREA), widen(wide_queries, queries, AREA), widen(wide_keys, keys, AREA);
        for (size_t i = 0; i < AREA; i++)
            for (size_t o = 0; o < 3; o++) exact[o][i] = got[o][i] = plain[o][i] = i < counts[o] ? 0.5f : guard;
        TESTED(additive_gradient)(got[0], got[1], got[2], gradient, queries, SIDE, keys, SIDE - 3, query_count,
                                  key_count, features);
        reference->additive_gradient(plain[0], plain[1], plain[2], gradient, queries, SIDE, keys, SIDE - 3,
                                     query_count, key_count, features);
        sattn_kernels_float64_current()->additive_gradient(exact[0], exact[1], exact[2], wide_gradient, wide_queries,
                                                           SIDE, wide_keys, SIDE - 3, query_count, key_count, features);
        for (size_t o = 0; o < 3; o++)
            check_rule(sums[o], query_count, key_count, features, got[o], plain[o], exact[o], AREA);
    }
}

static void check_normalize(void) {
    static const float bounds[] = {0, 1e-30f, 1, 1e30f};
    float x[70], got[71], plain[71];
    double wide[70], exact[71];
    for (size_t count = 0; count <= 70; count++)
        for (size_t b = 0; b < sizeof bounds / sizeof *bounds; b++) {
            fill(x, count, bounds[b]);
            widen(wide, x, count);
            for (size_t i = 0; i < 71; i++) exact[i] = plain[i] = guard, got[i] = i < count ? x[i] : guard;
            // In place.
            TESTED(normalize)(got, got, count);
            reference->normalize(plain, x, count);
            sattn_kernels_float64_current()->normalize(exact, wide, count);
            check_rule("normalize", 1, count, 0, got, plain, exact, 71);
        }
}

static void check_layer_norm(void) {
    float x[70], weight[70], bias[70], got[71], plain[71];
    double wide[70], wide_weight[70], wide_bias[70], exact[71], found[2], expected[2];
    for (size_t count = 1; count <= 70; count++)
        for (int has_bias = 0; has_bias < 2; has_bias++) {
            fill(x, count, 3);
            fill(weight, count, 1);
            fill(bias, count, 1);
            widen(wide, x, count);
            widen(wide_weight, weight, count);
            widen(wide_bias, bias, count);
            for (size_t i = 0; i < 71; i++) exact[i] = plain[i] = guard, got[i] = i < count ? x[i] : guard;
            // In place.
            TESTED(layer_norm)(got, got, weight, has_bias ? bias : NULL, count, 1e-5, found);
            reference->layer_norm(plain, x, weight, has_bias ? bias : NULL, count, 1e-5, expected);
            sattn_kernels_float64_current()->layer_norm(exact, wide, wide_weight, has_bias ? wide_bias : NULL, count,
                                                        1e-5, expected);
            check_rule("layer_norm", 1, count, (size_t)has_bias, got, plain, exact, 71);
            for (int i = 0; i < 2; i++)
                check(fabs(found[i] - expected[i]) <= 1e-12 * (1 + fabs(expected[i])), "layer_norm statistics", 1, count,
                      (size_t)has_bias, found[i], expected[i]);
        }
}

// MARK: - Entries

/// Every entry that the tested table fills was checked.
static void check_entries(void) {
    const uint8_t *entries = (const uint8_t *)tested;
    for (size_t i = 0; i < ENTRIES; i++) {
        uintptr_t entry;
        memcpy(&entry, entries + i * sizeof entry, sizeof entry);
        check_count++;
        if (entry == 0 || is_checked[i]) continue;
        failure_count++;
        printf("entry %zu of the table, counted from 0, is never checked\n", i);
    }
}

int main(int argc, char **argv) {
    reference = sattn_kernels_named("scalar");
    tested = argc == 2 ? sattn_kernels_named(argv[1]) : NULL;
    if (tested == NULL) {
        fprintf(stderr, "usage: kernels-test NAME, where NAME is a table that this processor has\n");
        return 64;
    }
    check_tiles();
    check_packed();
    check_transpose_and_sums();
    check_functions();
    check_counts();
    check_steps();
    check_stored();
    check_stored_products();
    check_bfloat16_products();
    check_attention();
    check_weights_and_gradients();
    check_score_gradients();
    check_additive_gradient();
    check_normalize();
    check_layer_norm();
    check_recurrent();
    check_threads();
    const char *name = TESTED(name);
    check_entries();
    printf("%s: %zu checks, %zu failures\n", name, check_count, failure_count);
    return failure_count == 0 ? 0 : 1;
}

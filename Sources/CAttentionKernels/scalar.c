// The reference that every other version is tested against, in plain C for any processor.

#include "tables.h"

#include <math.h>
#include <string.h>

// The same bits on processors with and without fused multiply-add.
#pragma STDC FP_CONTRACT OFF

#define REAL double
#define NAME(x) x##_float64
#define EXP exp
#define TANH tanh
#define SQRT sqrt
#define ADAM sattn_adam_float64
#define MOMENTUM sattn_momentum_float64
#define ATTENTION_TILE sattn_attention_tile_float64
#include "scalar.h"
#undef REAL
#undef NAME
#undef EXP
#undef TANH
#undef SQRT
#undef ADAM
#undef MOMENTUM
#undef ATTENTION_TILE

#define REAL float
#define NAME(x) x##_float32
#define EXP expf
#define TANH tanhf
#define SQRT sqrtf
#define ADAM sattn_adam
#define MOMENTUM sattn_momentum
#define ATTENTION_TILE sattn_attention_tile
#include "scalar.h"

// MARK: - Stored weights

static float float_from_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint32_t bits_from_float(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static float float_from_float16(uint16_t half) {
    uint32_t sign = (uint32_t)(half & 0x8000) << 16;
    uint32_t exponent = (half >> 10) & 0x1F;
    uint32_t fraction = half & 0x3FF;
    if (exponent == 0)  // zero and subnormal: fraction · 2⁻²⁴, exact in float32
        return float_from_bits(sign | bits_from_float((float)fraction * 0x1p-24f));
    if (exponent == 31)  // ∞, or NaN made quiet
        return float_from_bits(sign | 0x7F800000 | (fraction ? 0x400000 | fraction << 13 : 0));
    return float_from_bits(sign | (exponent + 127 - 15) << 23 | fraction << 13);
}

static uint16_t float16_from_float(float value) {
    uint32_t bits = bits_from_float(value);
    uint32_t sign = bits >> 16 & 0x8000;
    uint32_t magnitude = bits & 0x7FFFFFFF;
    if (magnitude > 0x7F800000)  // NaN made quiet
        return (uint16_t)(sign | 0x7E00 | (magnitude >> 13 & 0x3FF));
    if (magnitude >= 0x477FF000)  // 65520 and above round to ∞
        return (uint16_t)(sign | 0x7C00);
    if (magnitude < 0x38800000) {
        // Subnormal, or rounded up to the smallest normal: adding 1/2 leaves |value| · 2²⁴, rounded to the
        // nearest integer by the addition itself, in the low bits.
        return (uint16_t)(sign
                          | (bits_from_float(float_from_bits(magnitude) + 0.5f) - bits_from_float(0.5f)));
    }
    uint32_t rounding = 0xFFF + (magnitude >> 13 & 1);
    return (uint16_t)(sign | ((magnitude + rounding) >> 13) - ((127 - 15) << 10));
}

static uint16_t bfloat16_from_float(float value) {
    uint32_t bits = bits_from_float(value);
    if ((bits & 0x7FFFFFFF) > 0x7F800000)  // NaN made quiet
        return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

static uint16_t load_uint16(const uint8_t *source) {
    uint16_t value;
    memcpy(&value, source, sizeof value);
    return value;
}

static void decode(float *out, const void *source, sattn_weight_type type, size_t count) {
    const uint8_t *bytes = source;
    switch (type) {
    case SATTN_FLOAT32:
        if (count > 0) memcpy(out, source, count * sizeof *out);
        break;
    case SATTN_FLOAT16:
        for (size_t i = 0; i < count; i++) out[i] = float_from_float16(load_uint16(bytes + 2 * i));
        break;
    case SATTN_BFLOAT16:
        for (size_t i = 0; i < count; i++)
            out[i] = float_from_bits((uint32_t)load_uint16(bytes + 2 * i) << 16);
        break;
    case SATTN_Q8_0:
        for (size_t i = 0; i < count; i += 32, bytes += 34) {
            float d = float_from_float16(load_uint16(bytes));
            for (size_t j = 0; j < 32; j++) out[i + j] = d * (float)(int8_t)bytes[2 + j];
        }
        break;
    case SATTN_Q4_0:
        for (size_t i = 0; i < count; i += 32, bytes += 18) {
            float d = float_from_float16(load_uint16(bytes));
            for (size_t j = 0; j < 16; j++) {
                out[i + j] = d * (float)((bytes[2 + j] & 15) - 8);
                out[i + j + 16] = d * (float)((bytes[2 + j] >> 4) - 8);
            }
        }
        break;
    case SATTN_Q4_1:
        for (size_t i = 0; i < count; i += 32, bytes += 20) {
            float d = float_from_float16(load_uint16(bytes));
            float m = float_from_float16(load_uint16(bytes + 2));
            for (size_t j = 0; j < 16; j++) {
                out[i + j] = d * (float)(bytes[4 + j] & 15) + m;
                out[i + j + 16] = d * (float)(bytes[4 + j] >> 4) + m;
            }
        }
        break;
    }
}

static float number_at(const void *source, sattn_weight_type type, size_t index) {
    float number;
    size_t size = type == SATTN_FLOAT32 ? 4 : 2;
    decode(&number, (const uint8_t *)source + index * size, type, 1);
    return number;
}

static void product_transposed(float *out, size_t out_stride, const float *start, size_t start_stride,
                               const float *a, size_t a_stride, const void *b, sattn_weight_type type,
                               size_t b_stride, size_t rows, size_t columns, size_t depth) {
    if (type == SATTN_FLOAT32 && (uintptr_t)b % sizeof(float) == 0) {
        product_transposed_float32(out, out_stride, start, start_stride, a, a_stride, b, b_stride, rows, columns,
                                   depth);
        return;
    }
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < columns; c++) {
            float sum = start == NULL ? 0 : start[r * start_stride + c];
            for (size_t k = 0; k < depth; k++) sum += a[r * a_stride + k] * number_at(b, type, c * b_stride + k);
            out[r * out_stride + c] = sum;
        }
}

static void transpose_stored(float *out, size_t out_stride, const void *x, sattn_weight_type type,
                             size_t x_stride, size_t rows, size_t columns) {
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < columns; c++) out[c * out_stride + r] = number_at(x, type, r * x_stride + c);
}

static float add_pair(float sum, const uint16_t *x, const uint16_t *y) {
    sum += float_from_bits((uint32_t)x[1] << 16) * float_from_bits((uint32_t)y[1] << 16);
    return sum + float_from_bits((uint32_t)x[0] << 16) * float_from_bits((uint32_t)y[0] << 16);
}

static void product_transposed_bfloat16(float *out, size_t out_stride, const uint16_t *a, size_t a_stride,
                                        const uint16_t *b, size_t b_stride, size_t rows, size_t columns,
                                        size_t pairs) {
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < columns; c++) {
            float sum = 0;
            for (size_t k = 0; k < pairs; k++)
                sum = add_pair(sum, a + r * a_stride + 2 * k, b + c * b_stride + 2 * k);
            out[r * out_stride + c] = sum;
        }
}

static void product_packed_bfloat16(float *out, size_t out_stride, bool continues, const uint16_t *a,
                                    size_t a_stride, const uint32_t *panels, size_t panel_stride, size_t rows,
                                    size_t columns, size_t pairs) {
    const size_t width = TILE_COLUMNS_float32;
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < columns; c++) {
            const uint32_t *pair = panels + c / width * panel_stride + c % width;
            const uint16_t *left = a + r * a_stride;
            float sum = continues ? out[r * out_stride + c] : 0;
            for (size_t k = 0; k < pairs; k++, pair += width) {
                uint16_t right[2] = {(uint16_t)*pair, (uint16_t)(*pair >> 16)};
                sum = add_pair(sum, left + 2 * k, right);
            }
            out[r * out_stride + c] = sum;
        }
}

static void encode_float16(uint16_t *out, const float *x, size_t count) {
    for (size_t i = 0; i < count; i++) out[i] = float16_from_float(x[i]);
}

static void dot_stored(float *out, size_t out_stride, const float *a, size_t a_stride, const void *b,
                       size_t b_stride, sattn_weight_type type, size_t rows, size_t columns, size_t depth) {
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < columns; c++) {
            float sum = 0;
            for (size_t k = 0; k < depth; k++) sum += a[r * a_stride + k] * number_at(b, type, c * b_stride + k);
            out[r * out_stride + c] = sum;
        }
}

static void product_add_stored(float *out, size_t out_stride, const float *a, size_t a_stride, const void *b,
                               size_t b_stride, sattn_weight_type type, size_t rows, size_t columns,
                               size_t depth) {
    for (size_t r = 0; r < rows; r++)
        for (size_t k = 0; k < depth; k++)
            for (size_t c = 0; c < columns; c++)
                out[r * out_stride + c] += a[r * a_stride + k] * number_at(b, type, k * b_stride + c);
}

static void encode_bfloat16(uint16_t *out, const float *x, size_t count) {
    for (size_t i = 0; i < count; i++) out[i] = bfloat16_from_float(x[i]);
}

// MARK: - Products with quantised weights

static void quantize(int8_t *quants, float *scales, float *sums, const float *x, size_t count) {
    const size_t length = SATTN_ACTIVATION_BLOCK;
    for (size_t b = 0; b < count / length; b++, x += length, quants += length) {
        float top = 0;
        bool is_finite = true;
        for (size_t i = 0; i < length; i++) {
            if (fabsf(x[i]) > top) top = fabsf(x[i]);
            if (!isfinite(x[i])) is_finite = false;
        }
        bool is_zero = top < 0x1p-100f;
        scales[b] = is_finite ? (is_zero ? 0 : top / 127) : NAN;
        float factor = is_finite && !is_zero ? 127 / top : 0;
        int32_t total = 0;
        for (size_t i = 0; i < length; i++) {
            quants[i] = is_finite ? (int8_t)rintf(x[i] * factor) : 0;
            total += quants[i];
        }
        sums[b] = scales[b] * (float)total;
    }
}

static void quantized_product(float *out, size_t out_stride, const int8_t *quants, const float *scales,
                              const float *sums, const void *weights, sattn_weight_type type, size_t rows,
                              size_t columns, size_t depth) {
    const size_t blocks = depth / 32, block_bytes = blocks > 0 ? sattn_panel_byte_count(type, depth) / blocks : 0;
    const size_t header = type == SATTN_Q4_1 ? 64 : 32;
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < columns; c++) {
            float total = 0;
            for (size_t b = 0; b < blocks; b++) {
                const uint8_t *block = (const uint8_t *)weights + (c / 16 * blocks + b) * block_bytes;
                const int8_t *activations = quants + r * depth + 32 * b;
                int32_t sum[2] = {0};
                for (size_t k = 0; k < 32; k++) {
                    // Numbers lie by fours; those of 4 bits in the low half of a byte, and 16 later in the high one.
                    size_t low = type == SATTN_Q8_0 ? k : k % 16;
                    uint8_t number = block[header + low / 4 * 64 + c % 16 * 4 + low % 4];
                    if (type != SATTN_Q8_0) number = k < 16 ? number & 15 : number >> 4;
                    sum[k / SATTN_ACTIVATION_BLOCK] += number * activations[k];
                }
                uint16_t halves[2] = {0};
                memcpy(&halves[0], block + c % 16 * 2, 2);
                if (type == SATTN_Q4_1) memcpy(&halves[1], block + 32 + c % 16 * 2, 2);
                float d = float_from_float16(halves[0]);
                float m = type == SATTN_Q4_1 ? float_from_float16(halves[1]) : d * (type == SATTN_Q4_0 ? -8 : -128);
                const float *half_scales = scales + (r * blocks + b) * 2, *half_sums = sums + (r * blocks + b) * 2;
                total += m * (half_sums[0] + half_sums[1]);
                total += d * ((float)sum[0] * half_scales[0] + (float)sum[1] * half_scales[1]);
            }
            out[r * out_stride + c] = total;
        }
}

// MARK: - Tables

const sattn_kernels sattn_table_scalar = {
    .name = "scalar",
    .product = product_float32,
    .product_add = product_add_float32,
    .tile_columns = TILE_COLUMNS_float32,
    .product_packed = product_packed_float32,
    .transpose = transpose_float32,
    .attend = attend_float32,
    .divide_rows = divide_rows_float32,
    .product_transposed = product_transposed,
    .transpose_stored = transpose_stored,
    .bfloat16_rows = 6,
    .product_packed_bfloat16 = product_packed_bfloat16,
    .product_transposed_bfloat16 = product_transposed_bfloat16,
    .squared_distance = squared_distance_float32,
    .absolute_distance = absolute_distance_float32,
    .additive = additive_float32,
    .dot_rows = dot_rows_float32,
    .dot_stored = dot_stored,
    .product_add_stored = product_add_stored,
    .maximum = maximum_float32,
    .exp_sum = exp_sum_float32,
    .scale = scale_float32,
    .soft_cap = soft_cap_float32,
    .divide_and_dot = divide_and_dot_float32,
    .softmax_weights = softmax_weights_float32,
    .score_gradients = score_gradients_float32,
    .keep_between = keep_between_float32,
    .product_gradient = product_gradient_float32,
    .squared_distance_gradient = squared_distance_gradient_float32,
    .absolute_distance_gradient = absolute_distance_gradient_float32,
    .additive_gradient = additive_gradient_float32,
    .normalize = normalize_float32,
    .layer_norm = layer_norm_float32,
    .tanh = tanh_each_float32,
    .sigmoid = sigmoid_each_float32,
    .relu = relu_each_float32,
    .silu = silu_each_float32,
    .gelu = gelu_each_float32,
    .gelu_tanh = gelu_tanh_each_float32,
    .tanh_gradient = tanh_gradient_float32,
    .sigmoid_gradient = sigmoid_gradient_float32,
    .relu_gradient = relu_gradient_float32,
    .silu_gradient = silu_gradient_float32,
    .gelu_gradient = gelu_gradient_float32,
    .gelu_tanh_gradient = gelu_tanh_gradient_float32,
    .add = add_float32,
    .subtract = subtract_float32,
    .multiply = multiply_float32,
    .column_sums = column_sums_float32,
    .sum_of_squares = sum_of_squares_float32,
    .adam_step = adam_step_float32,
    .momentum_step = momentum_step_float32,
    .decode = decode,
    .quantize = quantize,
    .quantized_product = quantized_product,
    .encode_float16 = encode_float16,
    .encode_bfloat16 = encode_bfloat16,
    .lstm_cell = lstm_cell_float32,
    .lstm_cell_gradient = lstm_cell_gradient_float32,
    .gru_cell = gru_cell_float32,
    .gru_cell_gradient = gru_cell_gradient_float32,
};

const sattn_kernels_float64 sattn_table_float64 = {
    .name = "scalar",
    .product = product_float64,
    .product_add = product_add_float64,
    .tile_columns = TILE_COLUMNS_float64,
    .product_packed = product_packed_float64,
    .transpose = transpose_float64,
    .attend = attend_float64,
    .divide_rows = divide_rows_float64,
    .product_transposed = product_transposed_float64,
    .squared_distance = squared_distance_float64,
    .absolute_distance = absolute_distance_float64,
    .additive = additive_float64,
    .dot_rows = dot_rows_float64,
    .maximum = maximum_float64,
    .exp_sum = exp_sum_float64,
    .scale = scale_float64,
    .soft_cap = soft_cap_float64,
    .divide_and_dot = divide_and_dot_float64,
    .softmax_weights = softmax_weights_float64,
    .score_gradients = score_gradients_float64,
    .keep_between = keep_between_float64,
    .product_gradient = product_gradient_float64,
    .squared_distance_gradient = squared_distance_gradient_float64,
    .absolute_distance_gradient = absolute_distance_gradient_float64,
    .additive_gradient = additive_gradient_float64,
    .normalize = normalize_float64,
    .layer_norm = layer_norm_float64,
    .tanh = tanh_each_float64,
    .sigmoid = sigmoid_each_float64,
    .relu = relu_each_float64,
    .silu = silu_each_float64,
    .gelu = gelu_each_float64,
    .gelu_tanh = gelu_tanh_each_float64,
    .tanh_gradient = tanh_gradient_float64,
    .sigmoid_gradient = sigmoid_gradient_float64,
    .relu_gradient = relu_gradient_float64,
    .silu_gradient = silu_gradient_float64,
    .gelu_gradient = gelu_gradient_float64,
    .gelu_tanh_gradient = gelu_tanh_gradient_float64,
    .add = add_float64,
    .subtract = subtract_float64,
    .multiply = multiply_float64,
    .column_sums = column_sums_float64,
    .sum_of_squares = sum_of_squares_float64,
    .adam_step = adam_step_float64,
    .momentum_step = momentum_step_float64,
    .lstm_cell = lstm_cell_float64,
    .lstm_cell_gradient = lstm_cell_gradient_float64,
    .gru_cell = gru_cell_float64,
    .gru_cell_gradient = gru_cell_gradient_float64,
};

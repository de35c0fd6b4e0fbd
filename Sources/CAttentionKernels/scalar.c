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
#include "scalar.h"
#undef REAL
#undef NAME
#undef EXP
#undef TANH

#define REAL float
#define NAME(x) x##_float32
#define EXP expf
#define TANH tanhf
#include "scalar.h"

// MARK: - Functions of each element

static void exp_each(float *out, const float *x, size_t count) {
    for (size_t i = 0; i < count; i++) out[i] = expf(x[i]);
}

static void tanh_each(float *out, const float *x, size_t count) {
    for (size_t i = 0; i < count; i++) out[i] = tanhf(x[i]);
}

static void silu_each(float *out, const float *x, size_t count) {
    // Below -128 exp(-x) is ∞ and the result 0; -∞ itself would be -∞/∞.
    for (size_t i = 0; i < count; i++) {
        float bounded = x[i] < -128 ? -128 : x[i];
        out[i] = bounded / (1 + expf(-bounded));
    }
}

static void gelu_tanh_each(float *out, const float *x, size_t count) {
    // (1 + tanh u) / 2 = 1 / (1 + exp(-2u)), which does not cancel where u is negative.
    // Below -16 exp(-2u) is ∞ and the result 0; -∞ itself would be -∞/∞.
    const float twice_root = 1.5957691216057308f;  // 2 √(2/π)
    for (size_t i = 0; i < count; i++) {
        float bounded = x[i] < -16 ? -16 : x[i];
        float twice_u = twice_root * (bounded + 0.044715f * bounded * bounded * bounded);
        out[i] = bounded / (1 + expf(-twice_u));
    }
}

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

static void encode_float16(uint16_t *out, const float *x, size_t count) {
    for (size_t i = 0; i < count; i++) out[i] = float16_from_float(x[i]);
}

static void encode_bfloat16(uint16_t *out, const float *x, size_t count) {
    for (size_t i = 0; i < count; i++) out[i] = bfloat16_from_float(x[i]);
}

// MARK: - Tables

const sattn_kernels sattn_table_scalar = {
    .name = "scalar",
    .product = product_float32,
    .product_add = product_add_float32,
    .squared_distance = squared_distance_float32,
    .absolute_distance = absolute_distance_float32,
    .additive = additive_float32,
    .dot_rows = dot_rows_float32,
    .maximum = maximum_float32,
    .exp_sum = exp_sum_float32,
    .scale = scale_float32,
    .soft_cap = soft_cap_float32,
    .exp = exp_each,
    .tanh = tanh_each,
    .silu = silu_each,
    .gelu_tanh = gelu_tanh_each,
    .decode = decode,
    .encode_float16 = encode_float16,
    .encode_bfloat16 = encode_bfloat16,
};

const sattn_kernels_float64 sattn_table_float64 = {
    .name = "scalar",
    .product = product_float64,
    .product_add = product_add_float64,
    .squared_distance = squared_distance_float64,
    .absolute_distance = absolute_distance_float64,
    .additive = additive_float64,
    .dot_rows = dot_rows_float64,
    .maximum = maximum_float64,
    .exp_sum = exp_sum_float64,
    .scale = scale_float64,
    .soft_cap = soft_cap_float64,
};

// How quantised weights are laid out for the products with 8-bit activations.

#include "CAttentionKernels.h"

#include <string.h>

size_t sattn_panel_byte_count(sattn_weight_type type, size_t depth) {
    switch (type) {
    case SATTN_Q8_0: return depth / 32 * 16 * 34;
    case SATTN_Q4_0: return depth / 32 * 16 * 18;
    case SATTN_Q4_1: return depth / 32 * 16 * 20;
    default: return 0;
    }
}

void sattn_pack_panel(void *panel, const void *source, sattn_weight_type type, size_t rows, size_t depth) {
    const size_t blocks = depth / 32, panel_bytes = sattn_panel_byte_count(type, depth);
    if (panel_bytes == 0) return;
    const size_t block_bytes = panel_bytes / blocks, row_block_bytes = block_bytes / 16;
    // A block of a row: 2 bytes for each of one or two float16, and then dwords of numbers.
    const size_t halves = type == SATTN_Q4_1 ? 2 : 1, dwords = type == SATTN_Q8_0 ? 8 : 4;
    const uint32_t flip = type == SATTN_Q8_0 ? 0x80808080 : 0;
    // Rows that are not there have the scale 0.
    if (rows < 16) memset(panel, 0, panel_bytes);
    for (size_t b = 0; b < blocks; b++) {
        uint8_t *block = (uint8_t *)panel + b * block_bytes;
        for (size_t r = 0; r < rows; r++) {
            const uint8_t *row = (const uint8_t *)source + (r * blocks + b) * row_block_bytes;
            for (size_t h = 0; h < halves; h++) memcpy(block + 32 * h + 2 * r, row + 2 * h, 2);
            for (size_t j = 0; j < dwords; j++) {
                uint32_t four;
                memcpy(&four, row + 2 * halves + 4 * j, 4);
                four ^= flip;
                memcpy(block + 32 * halves + 64 * j + 4 * r, &four, 4);
            }
        }
    }
}

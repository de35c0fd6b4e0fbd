// The kernels for NEON, which every 64-bit ARM processor has, 4 floats at a time.

#include "tables.h"

#if defined(__aarch64__)

#define LANES 4
// 24 sums, 4 vectors of b and 2 of a, four floats each: 30 of the 32 registers.
#define TILE_ROWS 6
#define TILE_VECTORS 4
#define DOT_ROWS 4

// None: products with quantised weights decode them.
#define QUANTIZED_PRODUCT NULL

#define TABLE sattn_table_neon
#define TABLE_NAME "neon"
#include "vector.h"

#endif

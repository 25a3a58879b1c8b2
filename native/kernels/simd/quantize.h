#pragma once

#include <stdint.h>

#include "kernels/simd/instruction_set.h"

// Quantization to 8-bit codes: code = round(x / scale) + zero point. x, y, bias and addend are all float32 or
// all bfloat16.

/// The minimum and maximum of n numbers and 0; both NaN if a number is not finite.
IP2P_DECLARE_SIMD(void value_range(const void* x, bool bfloat16, int64_t n, float* least, float* greatest))

/// With 1 / scale.
IP2P_DECLARE_SIMD(void quantize(const void* x, bool bfloat16, int64_t n, float inverse_scale,
                                float zero_point, uint8_t* codes))

/// Per-row quantization: each row's scale puts its largest magnitude `largest` codes from the zero point. The
/// scale of a row with a number that is not finite is NaN.
IP2P_DECLARE_SIMD(void quantize_rows(const void* x, bool bfloat16, int64_t rows, int64_t width, float largest,
                                     float zero_point, uint8_t* codes, float* scales))

/// y ← scale of the row · y + bias of the column + addend; bias and addend may be null.
IP2P_DECLARE_SIMD(void scale_rows(void* y, bool bfloat16, int64_t rows, int64_t width, const float* scales,
                                  const void* bias, const void* addend))

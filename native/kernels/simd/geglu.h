#pragma once

#include <stdint.h>

#include "kernels/simd/instruction_set.h"

// Rows of x hold `width` values followed by the `width` inputs of their gates. x, y, dy and dx are all
// float32 or all bfloat16.

/// y = value · gelu(gate)
IP2P_DECLARE_SIMD(void geglu_rows(const void* x, bool bfloat16, int64_t rows, int64_t width, void* y))
/// The gradient of x from that of y.
IP2P_DECLARE_SIMD(void geglu_gradient_rows(const void* x, const void* dy, bool bfloat16, int64_t rows,
                                           int64_t width, void* dx))

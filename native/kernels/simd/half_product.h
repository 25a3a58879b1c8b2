#pragma once

#include <stdint.h>

#include "kernels/simd/column_blocks.h"
#include "kernels/simd/instruction_set.h"

namespace ip2p {

/// x·Wᵀ + bias + addend with packed weights of any type, in float32.
struct HalfProduct {
  int64_t rows, inputs, outputs;
  /// x [rows, inputs] in the order that half_product_input() writes.
  const float* x;
  ColumnBlocks weights;
  const float* bias;    ///< [outputs], or null
  const float* addend;  ///< [rows, outputs], or null
  float* y;             ///< [rows, outputs]
};

}  // namespace ip2p

// Numbers that half_product_input() writes for rows of so many numbers.
IP2P_DECLARE_SIMD(int64_t half_product_input_size(int64_t rows, int64_t inputs))
// Rows from … to − 1 of x, whose rows are `stride` numbers apart.
IP2P_DECLARE_SIMD(void half_product_input(const float* x, int64_t stride, int64_t rows, int64_t inputs,
                                          int64_t from, int64_t to, float* input))
// The outputs of a block of columns for rows from … to − 1. `scratch` has half_product_scratch_size()
// numbers.
IP2P_DECLARE_SIMD(int64_t half_product_scratch_size(int64_t rows))
IP2P_DECLARE_SIMD(void half_product(const ::ip2p::HalfProduct& product, int64_t block, int64_t from,
                                    int64_t to, float* scratch))

#pragma once

#include <stdint.h>

#include "kernels/simd/instruction_set.h"

namespace ip2p {

/// Packed weights in the type in which they are kept; they are widened as they are used.
struct ColumnBlocks {
  enum class Type { Float32, BFloat16, Float16 };
  Type type;
  const void* packed;
};

}  // namespace ip2p

// Weights [outputs, numbers] in blocks of outputs, each block [numbers][outputs of the block], as products
// read them; `bytes` of a number: 4 or 2. The outputs of the last block are rounded up to whole vectors, the
// added ones have zeros.
IP2P_DECLARE_SIMD(int64_t column_blocks(int64_t outputs))
IP2P_DECLARE_SIMD(void pack_columns(const void* weight, int bytes, int64_t outputs, int64_t numbers,
                                    int64_t block, void* packed))
IP2P_DECLARE_SIMD(void unpack_columns(const void* packed, int bytes, int64_t outputs, int64_t numbers,
                                      int64_t block, void* weight))

#pragma once

// For the sources of this folder: a block of packed weights.

#include "kernels/simd/column_blocks.h"
#include "kernels/simd/product.h"

namespace ip2p::IP2P_SIMD {

/// Where the packed weights of a block begin, and how many columns it has; the last is rounded up.
struct ColumnBlock {
  int64_t first, columns, offset;

  ColumnBlock(int64_t index, int64_t outputs, int64_t numbers)
      : first(index * WIDTH),
        columns(outputs - first < WIDTH ? round_up(outputs - first, LANES) : WIDTH),
        offset(first * numbers) {}
};

/// Calls f<V>() for the number of vectors in a block.
template <int V = VECTORS, class F>
void with_vectors(int64_t columns, const F& f) {
  if constexpr (V == 1) {
    f.template operator()<1>();
  } else {
    if (columns == V * LANES)
      f.template operator()<V>();
    else
      with_vectors<V - 1>(columns, f);
  }
}

/// Calls f(packed) with a pointer to the type in which weights are kept.
template <class F>
void with_weights(const ColumnBlocks& weights, const F& f) {
  switch (weights.type) {
    case ColumnBlocks::Type::Float32:
      return f(static_cast<const float*>(weights.packed));
    case ColumnBlocks::Type::BFloat16:
      return f(static_cast<const BFloat16*>(weights.packed));
    case ColumnBlocks::Type::Float16:
      return f(static_cast<const Half*>(weights.packed));
  }
}

}  // namespace ip2p::IP2P_SIMD

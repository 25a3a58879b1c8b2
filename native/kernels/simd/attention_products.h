#pragma once

#include "kernels/simd/attention_tiles.h"
#include "kernels/simd/attention_vectors.h"

namespace ip2p::IP2P_SIMD {

/// Calls f<type, products>() with the shape's type and its way of multiplying.
template <class F>
auto with_products(const AttentionShape& shape, const F& f) {
#if defined(IP2P_TILES)
  if (shape.tiles) return f.template operator()<BFloat16, TileProducts>();
#endif
  if (shape.type == AttentionType::BFloat16)
    return f.template operator()<BFloat16, VectorProducts<BFloat16>>();
  return f.template operator()<float, VectorProducts<float>>();
}

}  // namespace ip2p::IP2P_SIMD

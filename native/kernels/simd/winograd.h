#pragma once

#include <stdint.h>

#include "kernels/simd/column_blocks.h"
#include "kernels/simd/instruction_set.h"

namespace ip2p {

/// A 3×3 convolution of stride 1 and padding 1 over images in channels-last order.
struct WinogradShape {
  int64_t batch, height, width, in_channels, out_channels;
  /// Rows and columns of outputs in a tile: 2 or 4.
  int64_t tile;

  int64_t tiles_down() const { return (height + tile - 1) / tile; }
  int64_t tiles_across() const { return (width + tile - 1) / tile; }
  int64_t tiles() const { return batch * tiles_down() * tiles_across(); }
  /// Products of a tile, one for every number of its transform.
  int64_t products() const { return (tile + 2) * (tile + 2); }
};

/// Some tiles in a row, whose transformed inputs are kept together.
struct WinogradTiles {
  int64_t first, count;
};

/// What follows the products; null where there is none.
struct WinogradEpilogue {
  const float* bias;    ///< [out_channels]
  const float* addend;  ///< as the output
};

}  // namespace ip2p

// Transformed inputs of `all` tiles need winograd_input_size() numbers; winograd_input() writes those of
// `part`, tiles among them. `zeros` are in_channels numbers, read where an image has ended.
IP2P_DECLARE_SIMD(int64_t winograd_input_size(const ::ip2p::WinogradShape& shape, int64_t tiles))
IP2P_DECLARE_SIMD(void winograd_input(const ::ip2p::WinogradShape& shape, const float* x, const float* zeros,
                                      ::ip2p::WinogradTiles all, ::ip2p::WinogradTiles part, float* input))

// The outputs of `part`, in one block of output channels of weights [out_channels, in_channels·9]. `scratch`
// has winograd_scratch_size() numbers.
IP2P_DECLARE_SIMD(int64_t winograd_scratch_size(const ::ip2p::WinogradShape& shape, int64_t tiles))
IP2P_DECLARE_SIMD(void winograd_output(const ::ip2p::WinogradShape& shape,
                                       const ::ip2p::ColumnBlocks& weights, int64_t block, const float* input,
                                       ::ip2p::WinogradTiles all, ::ip2p::WinogradTiles part,
                                       const ::ip2p::WinogradEpilogue& epilogue, float* scratch, float* y))

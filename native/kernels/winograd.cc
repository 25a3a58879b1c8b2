#include "kernels/winograd.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>

#include "kernels/column_blocks.h"
#include "kernels/simd/winograd.h"

namespace ip2p {
namespace {

/// With fewer channels the transforms take more time than the products save.
constexpr int64_t FEWEST_CHANNELS = 32;
/// Transformed inputs that are kept together: as many as serve a piece of the weights well, but no more than
/// a last-level cache may hold.
constexpr int64_t MOST_TILES = 128, MOST_INPUTS = 3 << 20;

std::atomic<bool>& allowed() {
  static std::atomic<bool> value([] {
    const char* const wanted = std::getenv("IP2P_WINOGRAD");
    return !wanted || std::strcmp(wanted, "off") != 0;
  }());
  return value;
}

/// Tiles of 4×4 take fewer products than those of 2×2 and have larger errors: chosen where they save a
/// quarter at least, and where an image has enough of them to make up for the longer transform of the
/// weights. The batch has no say, so that an image's result does not depend on it.
int64_t tile_size(int64_t height, int64_t width) {
  const auto tiles = [&](int64_t side) { return (height + side - 1) / side * ((width + side - 1) / side); };
  return tiles(4) >= 16 && 4 * 36 * tiles(4) <= 3 * 16 * tiles(2) ? 4 : 2;
}

int64_t tiles_together(const WinogradShape& shape, int64_t per_tile) {
  return std::clamp<int64_t>(MOST_INPUTS / per_tile, 1, std::min(MOST_TILES, shape.tiles()));
}

}  // namespace

void allow_winograd(bool value) {
  allowed() = value;
}

bool prefers_winograd(const at::Tensor& x, at::IntArrayRef weight_sizes, int64_t stride, int64_t padding) {
  return x.numel() > 0 && allowed() && instruction_set() != InstructionSet::None &&
         x.scalar_type() == at::kFloat && stride == 1 && padding == 1 && weight_sizes[2] == 3 &&
         weight_sizes[3] == 3 && x.size(1) == weight_sizes[1] && weight_sizes[0] >= FEWEST_CHANNELS &&
         weight_sizes[1] >= FEWEST_CHANNELS;
}

at::Tensor winograd_conv2d(const at::Tensor& x, const at::Tensor& packed, int64_t out_channels,
                           const std::optional<at::Tensor>& bias, const at::Tensor& addend) {
  const at::Tensor input = x.contiguous(at::MemoryFormat::ChannelsLast);
  const at::Tensor added = addend.defined() ? addend.contiguous(at::MemoryFormat::ChannelsLast) : addend;
  const at::Tensor biases = bias ? bias->to(at::kFloat).contiguous() : at::Tensor();
  const ColumnBlocks weights = column_blocks(packed);
  const int64_t H = x.size(2), W = x.size(3);
  const WinogradShape shape{x.size(0), H, W, x.size(1), out_channels, tile_size(H, W)};
  const at::Tensor y =
      at::empty({shape.batch, out_channels, H, W}, input.options(), at::MemoryFormat::ChannelsLast);

  const auto input_size = IP2P_SELECT_SIMD(winograd_input_size);
  const auto transform = IP2P_SELECT_SIMD(winograd_input);
  const auto convolve = IP2P_SELECT_SIMD(winograd_output);
  const int64_t most = tiles_together(shape, input_size(shape, MOST_TILES) / MOST_TILES);
  // Pieces of equal size.
  const int64_t pieces = (shape.tiles() + most - 1) / most, tiles = (shape.tiles() + pieces - 1) / pieces;
  const int64_t blocks = IP2P_SELECT_SIMD(column_blocks)(out_channels), threads = at::get_num_threads();
  // Where blocks are few for the threads, each is cut into ranges of tiles.
  const int64_t ranges = std::clamp<int64_t>(4 * threads / blocks, 1, std::max<int64_t>(1, tiles / 16));
  const int64_t range = (tiles + ranges - 1) / ranges;
  const int64_t scratch_size = IP2P_SELECT_SIMD(winograd_scratch_size)(shape, range);

  const auto floats = input.options();
  const at::Tensor transformed = at::empty({input_size(shape, tiles)}, floats);
  const at::Tensor scratch = at::empty({threads * scratch_size}, floats);
  const at::Tensor zeros = at::zeros({shape.in_channels}, floats);
  const WinogradEpilogue epilogue{biases.defined() ? biases.const_data_ptr<float>() : nullptr,
                                  added.defined() ? added.const_data_ptr<float>() : nullptr};
  for (int64_t first = 0; first < shape.tiles(); first += tiles) {
    const WinogradTiles all{first, std::min(tiles, shape.tiles() - first)};
    at::parallel_for(0, all.count, 1, [&](int64_t from, int64_t to) {
      transform(shape, input.const_data_ptr<float>(), zeros.const_data_ptr<float>(), all,
                {first + from, to - from}, transformed.mutable_data_ptr<float>());
    });
    at::parallel_for(0, blocks * ranges, 1, [&](int64_t from, int64_t to) {
      float* const own = scratch.mutable_data_ptr<float>() + at::get_thread_num() * scratch_size;
      for (int64_t item = from; item < to; ++item) {
        const int64_t begin = item % ranges * range, count = std::min(range, all.count - begin);
        if (count <= 0) continue;
        convolve(shape, weights, item / ranges, transformed.const_data_ptr<float>(), all,
                 {first + begin, count}, epilogue, own, y.mutable_data_ptr<float>());
      }
    });
  }
  return y;
}

}  // namespace ip2p

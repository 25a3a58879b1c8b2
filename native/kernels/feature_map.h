#pragma once

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>

#include <algorithm>

#include "kernels/simd/group_norm.h"

namespace ip2p {

/// A tensor [B,C,...] in the layout in which the CPU's group norm reads it. S: pixels.
struct FeatureMap {
  int64_t B, C, S, G, D;  // D channels in each of G groups
  bool channels_last;
  bool bfloat16;
  at::Tensor x;  // dense in that layout

  FeatureMap(const at::Tensor& tensor, int64_t groups)
      : B(tensor.size(0)),
        C(tensor.size(1)),
        S(tensor.numel() / (B * C)),
        G(groups),
        D(C / groups),
        channels_last(S == 1 || (!tensor.is_contiguous() && tensor.movedim(1, -1).is_contiguous())),
        bfloat16(tensor.scalar_type() == at::kBFloat16),
        x(like_this(tensor)) {}

  /// A tensor of the same sizes in this layout, copied if need be.
  at::Tensor like_this(const at::Tensor& tensor) const {
    return channels_last && S > 1 ? tensor.movedim(1, -1).contiguous().movedim(-1, 1) : tensor.contiguous();
  }

  int64_t element_size() const { return bfloat16 ? 2 : 4; }
  /// The address of element `offset` of a tensor in this layout.
  char* at(const at::Tensor& tensor, int64_t offset) const {
    return static_cast<char*>(tensor.data_ptr()) + offset * element_size();
  }

  /// Channels-last pixels per block: depends on the shapes only, so that results do not depend on the number
  /// of threads, and is small enough for sums in float32.
  static constexpr int64_t PIXELS = 512;
  int64_t blocks() const { return (S + PIXELS - 1) / PIXELS; }
  int64_t pixels(int64_t block) const { return std::min(PIXELS, S - block * PIXELS); }
  int64_t block_offset(int64_t b, int64_t block) const { return (b * S + block * PIXELS) * C; }

  /// Grain size: tasks of that many elements per thread, so that small tensors stay on one.
  static int64_t grain(int64_t elements) { return std::max<int64_t>(1, 32768 / elements); }

  /// Calls `work(i, offset, block)` for every block of `rows` rows from `first` on, on all threads. i: the
  /// block's index; offset: that of its first element.
  template <class Work>
  void for_blocks(int64_t first, int64_t rows, const Work& work) const {
    at::parallel_for(0, rows * blocks(), grain(std::min(S, PIXELS) * C), [&](int64_t from, int64_t to) {
      for (int64_t i = from; i < to; ++i) {
        const int64_t offset = block_offset(first + i / blocks(), i % blocks());
        work(i, offset, FeatureBlock{at(x, offset), bfloat16, pixels(i % blocks()), C});
      }
    });
  }

  /// Rows of the batch processed together: few enough that a second pass still finds them in the CPU cache,
  /// enough to occupy every thread.
  int64_t rows_together() const {
    const int64_t tasks = 2 * static_cast<int64_t>(at::get_num_threads());
    return std::min(B, (tasks + blocks() - 1) / blocks());
  }
};

}  // namespace ip2p

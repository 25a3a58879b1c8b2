#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

namespace ip2p {

// 3×3 convolutions of stride 1 and padding 1 with a quarter (or 4/9) of the multiplications, in float32, for
// inference on the CPU; weights may be kept in half precision. Results differ from those of other algorithms
// by about 2e-6 relative, are the same for any number of threads, and those of an image do not depend on the
// others in the batch.

/// Whether winograd_conv2d() can convolve x, which must satisfy can_pack() or takes_half_weights(), with a
/// weight [O,I,k,k], and is allowed to and expected to be faster.
bool prefers_winograd(const at::Tensor& x, at::IntArrayRef weight_sizes, int64_t stride, int64_t padding);

/// Allowed unless this, or the environment variable IP2P_WINOGRAD=off, forbids it.
void allow_winograd(bool allowed);

/// conv2d(x) + addend, channels last.  x: [B,I,H,W], packed: by pack_columns()
at::Tensor winograd_conv2d(const at::Tensor& x, const at::Tensor& packed, int64_t out_channels,
                           const std::optional<at::Tensor>& bias, const at::Tensor& addend);

}  // namespace ip2p

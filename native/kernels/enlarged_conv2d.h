#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <functional>
#include <vector>

namespace ip2p {

// A 3×3 convolution (stride 1, padding 1) of a picture that was enlarged to twice its size by nearest
// neighbours. Of the nine values under the kernel at most four differ, which ones depends on whether row and
// column are even or odd: so it is four 2×2 convolutions of the small picture, whose kernels are sums of the
// 3×3 kernel's weights, and four ninths of the work.

/// The 2×2 kernels of even and odd rows (slow) and columns (fast), summed in float32.  weight: [O,I,3,3] → 4
/// × [O,I,2,2]
std::vector<at::Tensor> enlargement_phases(const at::Tensor& weight);

/// What each of them is applied to, for x: [B,C,H,W].
std::array<int64_t, 4> phase_input_sizes(const at::Tensor& x);

/// `convolve(part, phase)` convolves without padding.  x: [B,I,H,W] → [B,O,2H,2W]
at::Tensor enlarged_conv2d(const at::Tensor& x,
                           const std::function<at::Tensor(const at::Tensor&, size_t)>& convolve);

}  // namespace ip2p

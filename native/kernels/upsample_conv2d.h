#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <functional>
#include <vector>

namespace ip2p {

// Nearest-neighbour 2× upsampling fused with a 3×3 convolution (stride 1, padding 1). Of the nine values
// under the kernel at most four differ, depending on whether row and column are even or odd. So the result is
// four 2×2 convolutions (phases) of the input, whose kernels are sums of the 3×3 weights: four ninths of the
// work.

/// The 2×2 kernels of even and odd rows (slow) and columns (fast), summed in float32.  weight: [O,I,3,3] → 4
/// × [O,I,2,2]
std::vector<at::Tensor> upsample_phases(const at::Tensor& weight);

/// The padded input of each phase, for x: [B,C,H,W].
std::array<int64_t, 4> phase_input_sizes(const at::Tensor& x);

/// `convolve(part, phase)` convolves without padding.  x: [B,I,H,W] → [B,O,2H,2W]
at::Tensor upsample_conv2d(const at::Tensor& x,
                           const std::function<at::Tensor(const at::Tensor&, size_t)>& convolve);

}  // namespace ip2p

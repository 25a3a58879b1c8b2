#pragma once

#include <ATen/core/Tensor.h>

namespace ip2p {

// The gate and its derivative by libtorch's operators, for devices without a kernel of their own. The numbers
// are those of geglu_plain; only x is kept for the derivative, which computes gelu once more.

at::Tensor composed_geglu_forward(const at::Tensor& x);
at::Tensor composed_geglu_backward(const at::Tensor& dy, const at::Tensor& x);

}  // namespace ip2p

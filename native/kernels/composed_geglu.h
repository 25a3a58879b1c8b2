#pragma once

#include <ATen/core/Tensor.h>

namespace ip2p {

// GEGLU composed of libtorch's operators, for devices without a fused kernel. Equal to geglu_plain; saves
// only x for the backward pass, which recomputes gelu.

at::Tensor composed_geglu_forward(const at::Tensor& x);
at::Tensor composed_geglu_backward(const at::Tensor& dy, const at::Tensor& x);

}  // namespace ip2p

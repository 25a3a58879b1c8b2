#pragma once

#include <ATen/core/Tensor.h>

namespace ip2p {

/// Differentiable weight.to(copy's type) without the cast: the forward pass returns `copy`, the shadow weight
/// kept in lower precision; the backward pass casts the gradient back to the type of `weight`.
at::Tensor shadow_weight(const at::Tensor& weight, const at::Tensor& copy);

}  // namespace ip2p

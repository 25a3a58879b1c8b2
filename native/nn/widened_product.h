#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

#include "kernels/packed.h"

namespace ip2p {

// Products of half-precision numbers in float32 arithmetic, for training. Only the operands as they are
// given, the input as autocast rounds it, are kept for the backward pass, which widens them again: a float32
// copy lives as long as one product. Gradients of weights are rounded to the weights' type.

/// Whether a product of x with a weight of this type is computed that way: bfloat16 weights where x is
/// float32, and all products under autocast on a processor without instructions for its type
/// (`arithmetic_type()`), whose products in it are 3 to 50 times slower than float32 ones.
bool widens(const at::Tensor& x, c10::ScalarType weight);

/// x·Wᵀ + b, widened where `widens()` says so.  x: [...,in] → [...,out] in autocast's type, or in that of x
at::Tensor linear_product(const at::Tensor& x, const at::Tensor& weight,
                          const std::optional<at::Tensor>& bias = std::nullopt);

/// The same.  x: [B,in,H,W] → [B,out,H',W']
at::Tensor conv2d_product(const at::Tensor& x, const at::Tensor& weight,
                          const std::optional<at::Tensor>& bias, Conv2dGeometry geometry);

}  // namespace ip2p

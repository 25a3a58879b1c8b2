#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

#include "kernels/packed.h"

namespace ip2p {

// Products with bfloat16 weights in float32 arithmetic, for training with bfloat16 weights. Only the operands
// as they are given are kept for the backward pass, which widens them again: a float32 copy of a weight lives
// as long as one product. Gradients of weights are rounded to the weights' type.

/// Whether a product of x with a weight of this type is computed that way: bfloat16 weights where x is
/// float32, or under bfloat16 autocast on a processor without bfloat16 instructions, whose bfloat16 products
/// are 5 to 50 times slower than float32 ones.
bool widens(const at::Tensor& x, c10::ScalarType weight);

/// x·Wᵀ + b.  x: [...,in] → [...,out] in autocast's type, or without autocast in float32
at::Tensor widened_linear(const at::Tensor& x, const at::Tensor& weight,
                          const std::optional<at::Tensor>& bias);

/// x: [B,in,H,W] → [B,out,H',W'], in the type as above
at::Tensor widened_conv2d(const at::Tensor& x, const at::Tensor& weight,
                          const std::optional<at::Tensor>& bias, Conv2dGeometry geometry);

}  // namespace ip2p

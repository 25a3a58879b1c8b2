#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

namespace ip2p {

// Products with weights packed for oneDNN once instead of at every call, for inference on the CPU (no
// autograd). The addition that follows is fused.

/// Whether a product with x can use packed weights: a type that oneDNN supports, no gradient, no autocast.
bool can_pack(const at::Tensor& x, c10::ScalarType weight);

struct Conv2dGeometry {
  int64_t stride, padding;
};

/// Packs the weight [O,I,k,k] for inputs of about `input_sizes` [B,I,H,W]; other sizes work too, perhaps
/// slower.
at::Tensor pack_conv2d(const at::Tensor& weight, at::IntArrayRef input_sizes, Conv2dGeometry geometry);

/// conv2d(x) + addend, channels last.  x: [B,I,H,W]
at::Tensor packed_conv2d(const at::Tensor& x, const at::Tensor& packed, const std::optional<at::Tensor>& bias,
                         Conv2dGeometry geometry, const at::Tensor& addend);

/// Packs the weight [out,in] for inputs of about `rows` rows.
at::Tensor pack_linear(const at::Tensor& weight, int64_t rows);

/// x·Wᵀ + b + addend.  x: [...,in]
at::Tensor packed_linear(const at::Tensor& x, const at::Tensor& packed, const std::optional<at::Tensor>& bias,
                         const at::Tensor& addend);

}  // namespace ip2p

#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

#include "kernels/packed.h"

namespace ip2p {

// Matrix products and convolutions in 8-bit integers, for inference on the CPU: about twice as fast as in
// bfloat16, with quantization error. Weights are quantized once, to 255 levels with a scale per output
// channel. Inputs are quantized dynamically: per tensor for a convolution, per row for a linear layer, since
// a few tokens are far larger than the others. Sums are exact; results have the input's type.

/// Whether this processor and this libtorch support it.
bool has_int8();

struct Int8Weight {
  at::Tensor codes;   ///< int8, of the weight's shape
  at::Tensor scales;  ///< float32 [out]: the weight is about codes · scales
};

/// weight: [out,...]
Int8Weight quantize_weight(const at::Tensor& weight);

/// Packs for oneDNN, for inputs of about `input_sizes` [B,I,H,W]; other sizes work too, perhaps slower.
at::Tensor pack_int8_conv2d(const Int8Weight& weight, at::IntArrayRef input_sizes, Conv2dGeometry geometry);

/// conv2d(x) + bias + addend, channels last.  x: [B,I,H,W], float32 or bfloat16
at::Tensor int8_conv2d(const at::Tensor& x, const at::Tensor& packed, const at::Tensor& scales,
                       const std::optional<at::Tensor>& bias, Conv2dGeometry geometry,
                       const at::Tensor& addend);

/// Packs for oneDNN, for inputs of about `rows` rows.
at::Tensor pack_int8_linear(const Int8Weight& weight, int64_t rows);

/// x·Wᵀ + bias + addend.  x: [...,in], float32 or bfloat16
at::Tensor int8_linear(const at::Tensor& x, const at::Tensor& packed, const at::Tensor& scales,
                       const std::optional<at::Tensor>& bias, const at::Tensor& addend);

// The reference implementation for tests: quantized, dequantized and multiplied as floats.
at::Tensor int8_conv2d_plain(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                             Conv2dGeometry geometry, const at::Tensor& addend);
at::Tensor int8_linear_plain(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                             const at::Tensor& addend);

}  // namespace ip2p

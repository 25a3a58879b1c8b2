#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <optional>

#include "kernels/packed.h"

namespace ip2p {

// Weights in half precision with arithmetic in float32, for inference on processors without instructions for
// the weights' type, whose products in it are 3 to 50 times slower than float32 ones.

/// The type in which a model with weights of this type computes on this device: float32 where the processor
/// has no instructions for half precision of that kind, otherwise the weights' own.
c10::ScalarType arithmetic_type(c10::ScalarType weights, c10::Device device);

/// Whether a product of x with a weight of this type is for the functions below: float32 with half precision
/// on the CPU, without gradients and autocast.
bool takes_half_weights(const at::Tensor& x, c10::ScalarType weight);

/// Whether the processor has instructions for half_product().
bool has_half_products();

/// x·Wᵀ + b + addend. The same bits for any number of threads, and for a row alone and among others.
/// x: [...,in], float32, packed: by pack_columns()
at::Tensor half_product(const at::Tensor& x, const at::Tensor& packed, int64_t out_features,
                        const std::optional<at::Tensor>& bias, const at::Tensor& addend);

/// The same with a plain weight by libtorch's product, widened as a whole for as long as it is used.
at::Tensor half_weight_linear(const at::Tensor& x, const at::Tensor& weight,
                              const std::optional<at::Tensor>& bias, const at::Tensor& addend);

/// conv2d(x) + addend, channels last, by libtorch's convolution with the widened weight.
/// x: [B,I,H,W], float32
at::Tensor half_weight_conv2d(const at::Tensor& x, const at::Tensor& weight,
                              const std::optional<at::Tensor>& bias, Conv2dGeometry geometry,
                              const at::Tensor& addend);

}  // namespace ip2p

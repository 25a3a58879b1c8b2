#include "nn/k_sampling.h"

#include <ATen/ops/conv2d.h>
#include <ATen/ops/conv_transpose2d.h>
#include <ATen/ops/outer.h>
#include <ATen/ops/reflection_pad2d.h>
#include <ATen/ops/tensor.h>

#include "core/error.h"

namespace ip2p {
namespace {

/// One kernel for each channel: a depthwise convolution's [C,1,4,4].
at::Tensor kernel(const at::Tensor& x, double gain) {
  const at::Tensor row = at::tensor({0.125, 0.375, 0.375, 0.125}, at::kFloat) * gain;
  return at::outer(row, row).to(x.options()).expand({x.size(1), 1, 4, 4});
}

at::Tensor padded(const at::Tensor& x) {
  if (x.size(2) < 2 || x.size(3) < 2)
    throw Error("ERR_INVALID_ARGUMENT",
                "sample is too small for this UNet: its lowest level needs at least 2 rows and columns");
  return at::reflection_pad2d(x, {1, 1, 1, 1});
}

}  // namespace

at::Tensor k_downsample_2d(const at::Tensor& x) {
  const at::Tensor weight = kernel(x, 1);
  return at::conv2d(padded(x), weight, std::nullopt, {2, 2}, at::IntArrayRef{0, 0}, {1, 1}, x.size(1));
}

at::Tensor k_upsample_2d(const at::Tensor& x) {
  const at::Tensor weight = kernel(x, 2);
  return at::conv_transpose2d(padded(x), weight, std::nullopt, {2, 2}, {3, 3}, {0, 0}, x.size(1));
}

}  // namespace ip2p

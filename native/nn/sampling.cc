#include "nn/sampling.h"

#include <ATen/ops/avg_pool2d.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/upsample_nearest2d.h>
#include <c10/core/GradMode.h>

#include <array>

namespace ip2p {

Downsample2D::Downsample2D(int64_t channels, int64_t padding)
    : conv_(channels, channels, 3, 2, padding), padding_(padding) {
  add_child("conv", conv_);
}

at::Tensor Downsample2D::forward(const at::Tensor& x) const {
  return conv_.forward(padding_ == 0 ? at::constant_pad_nd(x, {0, 1, 0, 1}) : x);
}

Upsample2D::Upsample2D(int64_t channels) : conv_(channels, channels, 3, 1, 1) {
  add_child("conv", conv_);
}

at::Tensor Upsample2D::forward(const at::Tensor& x, at::OptionalIntArrayRef size) const {
  const std::array<int64_t, 2> twice{2 * x.size(2), 2 * x.size(3)};
  const std::array<int64_t, 2> target = size ? std::array<int64_t, 2>{(*size)[0], (*size)[1]} : twice;
  // In training, the extra sums, copies and their backward passes cost more than the phases save.
  if (target == twice && !c10::GradMode::is_enabled()) return conv_.forward_upsampled(x);
  return conv_.forward(at::upsample_nearest2d(x, target));
}

at::Tensor halved(const at::Tensor& x) {
  return at::avg_pool2d(x, {2, 2}, {2, 2});
}

at::Tensor doubled(const at::Tensor& x) {
  return at::upsample_nearest2d(x, {2 * x.size(2), 2 * x.size(3)});
}

}  // namespace ip2p

#include "nn/spatial_norm.h"

#include <ATen/ops/upsample_nearest2d.h>

namespace ip2p {
namespace {

// Not in any configuration.
constexpr int64_t kGroups = 32;
constexpr double kEps = 1e-6;

}  // namespace

SpatialNorm::SpatialNorm(int64_t channels, int64_t latent_channels)
    : norm_layer_(kGroups, channels, kEps),
      conv_y_(latent_channels, channels, 1),
      conv_b_(latent_channels, channels, 1) {
  add_child("norm_layer", norm_layer_);
  add_child("conv_y", conv_y_);
  add_child("conv_b", conv_b_);
}

at::Tensor SpatialNorm::forward(const at::Tensor& f, const at::Tensor& z) const {
  const at::Tensor map = at::upsample_nearest2d(z, f.sizes().slice(2));
  return norm_layer_.forward(f) * conv_y_.forward(map) + conv_b_.forward(map);
}

}  // namespace ip2p

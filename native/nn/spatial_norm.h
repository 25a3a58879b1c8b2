#pragma once

#include "nn/layers.h"

namespace ip2p {

/// A group norm whose scale and shift at every pixel are projected from a map of latents, of any size,
/// upsampled by nearest neighbours (Zheng et al. 2022, "MoVQ", https://arxiv.org/abs/2209.09002). f:
/// [B,C,H,W], z: [B,Z,h,w]
class SpatialNorm : public Module {
 public:
  SpatialNorm(int64_t channels, int64_t latent_channels);
  at::Tensor forward(const at::Tensor& f, const at::Tensor& z) const;

 private:
  GroupNorm norm_layer_;
  Conv2d conv_y_, conv_b_;
};

}  // namespace ip2p

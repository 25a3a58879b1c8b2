#pragma once

#include "nn/module.h"

namespace ip2p {

// Resampling by 2 with the fixed kernel [1, 3, 3, 1] / 8 along both axes, at borders reflected by one pixel
// (k-diffusion). Without parameters. x: [B,C,H,W], H and W at least 2

/// H and W even → [B,C,H/2,W/2]
at::Tensor k_downsample_2d(const at::Tensor& x);
/// → [B,C,2·H,2·W]
at::Tensor k_upsample_2d(const at::Tensor& x);

}  // namespace ip2p

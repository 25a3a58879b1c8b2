#pragma once

#include "nn/layers.h"

namespace ip2p {

/// A 3×3 convolution of stride 2. With padding 0 (the autoencoder) a row and a column of zeros are added at
/// the bottom and the right only. x: [B,C,H,W]
class Downsample2D : public Module {
 public:
  Downsample2D(int64_t channels, int64_t padding);
  at::Tensor forward(const at::Tensor& x) const;

 private:
  Conv2d conv_;
  int64_t padding_;
};

/// Nearest-neighbour upsampling by 2, or to `size`, then a 3×3 convolution. x: [B,C,H,W]
class Upsample2D : public Module {
 public:
  explicit Upsample2D(int64_t channels);
  at::Tensor forward(const at::Tensor& x, at::OptionalIntArrayRef size = std::nullopt) const;
  /// Applies to upsampling by exactly 2.
  void quantize() override { conv_.quantize_upsampled(); }

 private:
  Conv2d conv_;
};

/// The mean of 2×2 pixels. x: [B,C,H,W] → [B,C,H/2,W/2], an odd last row or column left out
at::Tensor halved(const at::Tensor& x);

/// Every pixel four times. x: [B,C,H,W] → [B,C,2H,2W]
at::Tensor doubled(const at::Tensor& x);

}  // namespace ip2p

#pragma once

#include <string>

#include "nn/conditions.h"
#include "nn/layers.h"

namespace ip2p {

/// A group norm whose scale and shift are a linear function of the timestep's embedding: (1 + s)·norm(x) + b.
/// x: [B,C,H,W]
class AdaGroupNorm : public Module {
 public:
  AdaGroupNorm(int64_t embedding_dim, int64_t channels, int64_t groups, double eps);
  at::Tensor forward(const at::Tensor& x, const TimeCondition& time) const;

 private:
  Linear linear_;
  int64_t groups_;
  double eps_;
};

struct ResnetCondNormOptions {
  int64_t embedding_dim;
  int64_t groups_in, groups_out;  ///< of the norms before the first and the second convolution
  double eps;
  std::string act_fn;
};

/// Two 3×3 convolutions, each behind an adaptive group norm and an activation, and a residual. The second
/// convolution may change the width once more. x: [B,in,H,W] → [B,out,H,W]
class ResnetBlockCondNorm2D : public Module {
 public:
  /// @param inner_channels between the convolutions
  ResnetBlockCondNorm2D(int64_t in_channels, int64_t inner_channels, int64_t out_channels,
                        const ResnetCondNormOptions& options);
  at::Tensor forward(const at::Tensor& x, const TimeCondition& time) const;
  /// Leaves out the shortcut, as ResnetBlock2D does.
  void quantize() override;

 private:
  AdaGroupNorm norm1_, norm2_;
  Conv2d conv1_, conv2_;
  std::unique_ptr<Conv2d> conv_shortcut_;
  Activation act_;
};

}  // namespace ip2p

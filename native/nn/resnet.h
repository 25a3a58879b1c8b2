#pragma once

#include <optional>

#include "nn/conditions.h"
#include "nn/layers.h"

namespace ip2p {

/// A resnet that halves (mean of 2×2 pixels) or doubles (nearest neighbour) the resolution on its way.
enum class ResnetResampling { None, Down, Up };

struct ResnetOptions {
  int64_t groups;
  double eps;
  std::string act_fn;
  std::optional<int64_t> time_embedding_dim;  ///< none in the autoencoder
  bool scale_shift = false;                   ///< the time embedding scales and shifts instead of being added
  double output_scale_factor = 1.0;
  ResnetResampling resampling = ResnetResampling::None;
  bool skip_time_act = false;  ///< the time embedding is projected without the activation in front
};

/// Two 3×3 convolutions, each behind a group norm and an activation, the time embedding between them, and a
/// residual. x: [B,in,H,W], time: ignored in the autoencoder → [B,out,H,W], H and W resampled
class ResnetBlock2D : public Module {
 public:
  ResnetBlock2D(int64_t in_channels, int64_t out_channels, const ResnetOptions& options);
  at::Tensor forward(const at::Tensor& input, const TimeCondition& time) const;
  /// Leaves out the shortcut: a small part of the work, but its input is not normalised, and quantizing it
  /// would cost more accuracy than all other layers of a UNet together.
  void quantize() override;

 private:
  at::Tensor resampled(const at::Tensor& x) const;
  at::Tensor norm_act(const GroupNorm& norm, const at::Tensor& x,
                      const std::optional<at::Tensor>& shift = std::nullopt) const;

  GroupNorm norm1_, norm2_;
  Conv2d conv1_, conv2_;
  std::unique_ptr<Linear> time_emb_proj_;
  std::unique_ptr<Conv2d> conv_shortcut_;
  Activation act_;
  bool silu_, scale_shift_, skip_time_act_;
  ResnetResampling resampling_;
  double output_scale_factor_;
};

}  // namespace ip2p

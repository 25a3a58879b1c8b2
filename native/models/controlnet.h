#pragma once

#include <vector>

#include "models/model.h"
#include "models/unet_encoder.h"

namespace ip2p {

/// The keys of a ControlNet's config.json that shape it.
struct ControlNetConfig : UNetEncoderConfig {
  explicit ControlNetConfig(const ConfigValue& config);

  int64_t conditioning_channels;  ///< of the control image
  std::vector<int64_t> conditioning_embedding_out_channels;
  bool bgr;                     ///< takes the control image's channels in reverse
  bool global_pool_conditions;  ///< residuals are means over all pixels
};

/// From a control image to features of the size of the latents. Child names: "conv_in", "blocks",
/// "conv_out".
class ControlNetConditioningEmbedding : public Module {
 public:
  explicit ControlNetConditioningEmbedding(const ControlNetConfig& config);
  /// x: [B,conditioning_channels,H,W] → [B,block_out_channels[0],h,w], halved once for each pair of blocks
  at::Tensor forward(const at::Tensor& x) const;

 private:
  Conv2d conv_in_;
  ModuleList<Conv2d> blocks_;
  Conv2d conv_out_;
};

/// What a pass of a ControlNet takes beside the conditions of its UNet.
struct ControlInput {
  at::Tensor picture;  ///< [B,conditioning_channels,H,W] in 0..1, or with one row
  double scale = 1;
  /// Weighs residuals by their depth, from 0.1 to 1.
  bool guess_mode = false;
  /// Rows of zeros to put before and behind the residuals.
  int64_t zero_rows_before = 0, zero_rows_behind = 0;
};

/// A copy of a UNet's encoder half that sees a control image, and whose features are added to the UNet's
/// (Zhang et al. 2023, "Adding Conditional Control to Text-to-Image Diffusion Models").
class ControlNetModel : public Model {
 public:
  ControlNetModel(const ControlNetConfig& config, AttentionBackend attention);

  /// The convolutions behind which a new ControlNet changes nothing.
  bool starts_at_zero(const std::string& name) const override;

  /// Arguments and conditions as those of `UNet2DConditionModel::forward`. Residuals among the conditions are
  /// another ControlNet's, to which these are added.
  Residuals forward(const at::Tensor& sample, const at::Tensor& timesteps, const Conditions& conditions,
                    const ControlInput& control) const;

 private:
  /// The image's features, [1 or B,C,h,w]; kept by the cache.
  at::Tensor embedded(const ControlInput& control, const at::Tensor& sample, UNetCache* cache) const;

  ControlNetConfig config_;
  UNetEncoder encoder_;
  ControlNetConditioningEmbedding controlnet_cond_embedding_;
  ModuleList<Conv2d> controlnet_down_blocks_;
  Conv2d controlnet_mid_block_;
};

}  // namespace ip2p

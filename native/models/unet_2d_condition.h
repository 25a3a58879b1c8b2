#pragma once

#include <string>
#include <vector>

#include "models/blocks/unet_blocks.h"
#include "models/model.h"
#include "nn/embeddings.h"

namespace ip2p {

/// The keys of a UNet's config.json that shape this model. Lists have one entry per level, highest resolution
/// first; lib/models/unet_2d_condition.ts spreads single numbers over the levels and refuses unsupported
/// values.
struct UNet2DConditionConfig {
  explicit UNet2DConditionConfig(const ConfigValue& config);

  int64_t in_channels;  ///< 4, or 8 for InstructPix2Pix: noisy latents and image latents
  int64_t out_channels;
  bool center_input_sample;  ///< map the input from [0,1] to [-1,1]
  bool flip_sin_to_cos;
  double freq_shift;
  std::vector<std::string> down_block_types;
  std::string mid_block_type;  ///< empty: none
  std::vector<std::string> up_block_types;
  std::vector<bool> only_cross_attention;
  std::vector<int64_t> block_out_channels;
  std::vector<int64_t> layers_per_block;
  int64_t downsample_padding;
  double mid_block_scale_factor;
  std::string act_fn;
  int64_t norm_num_groups;
  double norm_eps;
  std::vector<int64_t> cross_attention_dim;
  std::vector<int64_t> transformer_layers_per_block;
  std::vector<int64_t> reverse_transformer_layers_per_block;  ///< of the up blocks, in their order
  std::vector<int64_t> attention_head_dim;                    ///< actually the number of heads
  bool use_linear_projection;
  std::string resnet_time_scale_shift;  ///< "default" or "scale_shift"
  int64_t time_embedding_dim;
  int64_t conv_in_kernel;
  int64_t conv_out_kernel;
  bool extend_input_channels;  ///< not a key of config.json: set when training starts from a text-to-image
                               ///< model
};

/// Whether a pass keeps or reuses the deep levels' features in the cache.
enum class DeepFeatures { Forget, Keep, Reuse };

/// The denoising network of Stable Diffusion (Rombach et al. 2022), with the extra input channels of
/// InstructPix2Pix (Brooks et al. 2023).
class UNet2DConditionModel : public Model {
 public:
  UNet2DConditionModel(const UNet2DConditionConfig& config, AttentionBackend attention);

  /// The first convolution of a text-to-image UNet (fewer input channels) is padded with zeros for the
  /// missing channels if extend_input_channels is set.
  at::Tensor adapted(const std::string& name, const at::Tensor& value, at::IntArrayRef shape) const override;

  /// Leaves out the first and the last convolution and the time embedding.
  void quantize() override;

  /// sample: [B,in_channels,H,W], or fewer rows with `text.sample_rows`; timesteps: [B] or [1], the latter
  /// with fewer rows, and on the CPU with a cache; text: [B,T,cross_attention_dim] → [B,out_channels,H,W]
  ///
  /// With `DeepFeatures::Reuse` only the highest resolution is computed, and the rest taken from the last
  /// pass with `DeepFeatures::Keep` (Ma et al. 2023, "DeepCache"), if that was of the same size.
  at::Tensor forward(const at::Tensor& sample, const at::Tensor& timesteps, const TextCondition& text,
                     DeepFeatures deep_features = DeepFeatures::Forget) const;

 private:
  TimeCondition time_condition(const at::Tensor& timesteps, const at::Tensor& sample, UNetCache* cache) const;
  at::Tensor deep_features(at::Tensor x, const TimeCondition& time, const TextCondition& text,
                           std::vector<at::Tensor>& skips, bool match_skip_size) const;
  UNet2DConditionConfig config_;
  Conv2d conv_in_;
  TimestepEmbedding time_embedding_;
  ModuleList<UNetDownBlock> down_blocks_;
  std::unique_ptr<UNetMidBlock> mid_block_;
  ModuleList<UNetUpBlock> up_blocks_;
  GroupNorm conv_norm_out_;
  Activation act_;
  Conv2d conv_out_;
};

}  // namespace ip2p

#pragma once

#include <string>
#include <vector>

#include "core/config_value.h"

namespace ip2p {

/// The keys of a config.json that shape the encoder half of a UNet. Lists have one entry per level, highest
/// resolution first; lib/models/ spreads single values over the levels and refuses unsupported values.
struct UNetEncoderConfig {
  explicit UNetEncoderConfig(const ConfigValue& config);

  int64_t in_channels;  ///< 4, or 8 for InstructPix2Pix: noisy latents and image latents
  bool flip_sin_to_cos;
  double freq_shift;
  std::vector<std::string> down_block_types;
  std::string mid_block_type;  ///< empty: none
  std::vector<bool> only_cross_attention;
  std::vector<int64_t> block_out_channels;
  std::vector<int64_t> layers_per_block;
  int64_t downsample_padding;
  double mid_block_scale_factor;
  std::string act_fn;
  int64_t norm_num_groups;  ///< 0: of K blocks, which have groups of a fixed size, and no norm at the end
  double norm_eps;
  std::vector<int64_t> cross_attention_dim;
  std::vector<std::vector<int64_t>> transformer_layers_per_block;  ///< for each level, for each resnet
  /// Actually the number of heads, but of K blocks the channels of a head.
  std::vector<int64_t> attention_head_dim;
  bool use_linear_projection;
  std::string resnet_time_scale_shift;  ///< "default" or "scale_shift"
  bool fourier_time_embedding;
  std::string timestep_post_act;  ///< empty: none
  int64_t time_embedding_dim;
  int64_t time_cond_proj_dim;       ///< 0: none
  std::string class_act_fn;         ///< of class_embed_type "timestep": act_fn, if no model says otherwise
  std::string class_embed_type;     ///< empty: none, or a table if num_class_embeds is given
  int64_t num_class_embeds;         ///< 0: none
  std::string addition_embed_type;  ///< empty: none
  int64_t addition_time_embed_dim;
  int64_t projection_class_embeddings_input_dim;
  std::string
      encoder_hid_dim_type;  ///< empty, or "image_proj": the condition is projected from image embeddings
  int64_t encoder_hid_dim;   ///< width of those; 0: none
  // Of the "Simple" and "Resnet" block types only:
  bool mid_block_only_cross_attention;
  bool resnet_skip_time_act;
  double resnet_out_scale_factor;
  int64_t conv_in_kernel;

  size_t levels() const { return block_out_channels.size(); }
};

/// All keys of a UNet's config.json that shape it.
struct UNet2DConditionConfig : UNetEncoderConfig {
  explicit UNet2DConditionConfig(const ConfigValue& config);

  int64_t out_channels;
  bool center_input_sample;  ///< map the input from [0,1] to [-1,1]
  std::vector<std::string> up_block_types;
  /// Of the up blocks, in their order, for each resnet.
  std::vector<std::vector<int64_t>> reverse_transformer_layers_per_block;
  int64_t conv_out_kernel;
  bool extend_input_channels;  ///< not a key of config.json: set when training starts from a text-to-image
                               ///< model
};

}  // namespace ip2p

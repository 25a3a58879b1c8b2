#include "models/unet_config.h"

#include "core/error.h"

namespace ip2p {
namespace {

void require_levels(bool even) {
  if (!even) throw Error("ERR_CONFIG", "the lists of a UNet's configuration differ in length");
}

/// Whether each level has at least as many numbers as resnets.
bool enough(const std::vector<std::vector<int64_t>>& layers, const std::vector<int64_t>& resnets) {
  for (size_t i = 0; i < layers.size(); ++i)
    if (layers[i].empty() || static_cast<int64_t>(layers[i].size()) < resnets[i]) return false;
  return true;
}

}  // namespace

UNetEncoderConfig::UNetEncoderConfig(const ConfigValue& config)
    : in_channels(config.integer("in_channels")),
      flip_sin_to_cos(config.boolean("flip_sin_to_cos")),
      freq_shift(config.number("freq_shift")),
      down_block_types(config.strings("down_block_types")),
      mid_block_type(config.string_or("mid_block_type", "")),
      only_cross_attention(config.booleans("only_cross_attention")),
      block_out_channels(config.integers("block_out_channels")),
      layers_per_block(config.integers("layers_per_block")),
      downsample_padding(config.integer("downsample_padding")),
      mid_block_scale_factor(config.number("mid_block_scale_factor")),
      act_fn(config.string("act_fn")),
      norm_num_groups(config.integer_or("norm_num_groups", 0)),
      norm_eps(config.number("norm_eps")),
      cross_attention_dim(config.integers("cross_attention_dim")),
      transformer_layers_per_block(config.integer_lists("transformer_layers_per_block")),
      attention_head_dim(config.integers("attention_head_dim")),
      use_linear_projection(config.boolean("use_linear_projection")),
      resnet_time_scale_shift(config.string("resnet_time_scale_shift")),
      fourier_time_embedding(config.string("time_embedding_type") == "fourier"),
      timestep_post_act(config.string_or("timestep_post_act", "")),
      time_embedding_dim(config.integer("time_embedding_dim")),
      time_cond_proj_dim(config.integer_or("time_cond_proj_dim", 0)),
      class_act_fn(act_fn),
      class_embed_type(config.string_or("class_embed_type", "")),
      num_class_embeds(config.integer_or("num_class_embeds", 0)),
      addition_embed_type(config.string_or("addition_embed_type", "")),
      addition_time_embed_dim(config.integer_or("addition_time_embed_dim", 0)),
      projection_class_embeddings_input_dim(config.integer_or("projection_class_embeddings_input_dim", 0)),
      encoder_hid_dim_type(config.string_or("encoder_hid_dim_type", "")),
      encoder_hid_dim(config.integer_or("encoder_hid_dim", 0)),
      mid_block_only_cross_attention(config.boolean("mid_block_only_cross_attention")),
      resnet_skip_time_act(config.boolean("resnet_skip_time_act")),
      resnet_out_scale_factor(config.number("resnet_out_scale_factor")),
      conv_in_kernel(config.integer("conv_in_kernel")) {
  require_levels(levels() > 0 && down_block_types.size() == levels() &&
                 only_cross_attention.size() == levels() && layers_per_block.size() == levels() &&
                 cross_attention_dim.size() == levels() && transformer_layers_per_block.size() == levels() &&
                 attention_head_dim.size() == levels() &&
                 enough(transformer_layers_per_block, layers_per_block));
}

UNet2DConditionConfig::UNet2DConditionConfig(const ConfigValue& config)
    : UNetEncoderConfig(config),
      out_channels(config.integer("out_channels")),
      center_input_sample(config.boolean("center_input_sample")),
      up_block_types(config.strings("up_block_types")),
      reverse_transformer_layers_per_block(config.integer_lists("reverse_transformer_layers_per_block")),
      conv_out_kernel(config.integer("conv_out_kernel")),
      extend_input_channels(config.boolean("extend_input_channels")) {
  std::vector<int64_t> resnets;  // of the up blocks
  for (auto layers = layers_per_block.rbegin(); layers != layers_per_block.rend(); ++layers)
    resnets.push_back(*layers + 1);
  require_levels(up_block_types.size() == levels() &&
                 reverse_transformer_layers_per_block.size() == levels() &&
                 enough(reverse_transformer_layers_per_block, resnets));
}

}  // namespace ip2p

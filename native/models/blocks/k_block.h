#pragma once

#include "models/blocks/unet_block.h"
#include "nn/ada_group_norm.h"
#include "nn/k_attention.h"

namespace ip2p {

/// Channels in each group of a norm of these blocks, whatever norm_num_groups says.
constexpr int64_t kKGroupSize = 32;

/// The options of a resnet with so many channels coming in.
inline ResnetCondNormOptions k_resnet_options(const UNetBlockOptions& options, int64_t in_channels) {
  return {options.resnet.time_embedding_dim.value_or(0), in_channels / kKGroupSize,
          options.out_channels / kKGroupSize, options.resnet.eps, options.resnet.act_fn};
}

inline KAttentionOptions k_attention_options(const UNetBlockOptions& options, bool self_attention) {
  return {options.resnet.time_embedding_dim.value_or(0), options.transformer.context_dim, options.head_dim,
          self_attention, options.transformer.attention};
}

}  // namespace ip2p

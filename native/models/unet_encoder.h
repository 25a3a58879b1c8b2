#pragma once

#include <vector>

#include "models/blocks/unet_block.h"
#include "models/unet_embeddings.h"

namespace ip2p {

/// The half of a UNet on the way down: first convolution, embeddings, down blocks and the middle. A model
/// that owns one registers its children as its own (`Module::add_children_of`): "conv_in", "time_proj",
/// "time_embedding", "encoder_hid_proj", "class_embedding", "add_embedding", "down_blocks",
/// "mid_block".
class UNetEncoder : public Module {
 public:
  UNetEncoder(const UNetEncoderConfig& config, AttentionBackend attention);

  /// A pass on its way through the network.
  struct Pass {
    TextCondition text;
    TimeCondition time;
    at::Tensor x;                   ///< the features so far
    std::vector<at::Tensor> skips;  ///< first the first convolution's output, then that of every layer
  };

  /// Checks the conditions and computes the highest resolution: the first convolution and the first block.
  /// sample: [B,in_channels,H,W], timesteps: [B] or [1]; added: what is added to the first convolution's
  /// output, [1 or B,C,H,W], or undefined
  Pass begin(const at::Tensor& sample, const at::Tensor& timesteps, const Conditions& conditions,
             const at::Tensor& added = {}) const;

  /// The other levels and the middle.
  void descend(Pass& pass) const;

  /// How many skips there are in the end, the first convolution's included.
  size_t skip_count() const;
  /// How many of them are a level's.
  size_t skip_count(size_t level) const { return down_blocks_[level].skip_count(); }

  /// How many there are of the highest resolution, the first convolution's among them.
  size_t highest_skips() const { return 1 + down_blocks_[0].skips_of_own_resolution(); }

  /// Leaves out the first convolution and the embeddings.
  void quantize() override;

 private:
  /// Where conditions of the sample's rows differ from one row of text to the next, nothing behind the first
  /// convolution can be shared.
  void share_or_expand(Pass& pass, const Conditions& conditions) const;

  Conv2d conv_in_;
  UNetEmbeddings embeddings_;
  ModuleList<UNetDownBlock> down_blocks_;
  std::unique_ptr<UNetMidBlock> mid_block_;
};

/// Options shared by all blocks of a UNet's level.
UNetBlockOptions block_options(const UNetEncoderConfig& config, size_t level, AttentionBackend attention);

}  // namespace ip2p

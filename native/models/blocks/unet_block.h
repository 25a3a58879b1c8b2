#pragma once

#include <string>
#include <vector>

#include "nn/resnet.h"
#include "nn/transformer.h"

namespace ip2p {

/// The configuration of one block of a UNet.
struct UNetBlockOptions {
  int64_t in_channels;
  int64_t out_channels;
  int64_t prev_channels;  ///< channels coming up from the block below (up blocks)
  int64_t skip_channels;  ///< of the last skip of the same level, 0 if it has none (up blocks)
  int64_t layers;         ///< resnets; of the middle: pairs of a transformer and a resnet
  bool resample;          ///< ends in a down- or upsampler
  int64_t downsample_padding;
  ResnetOptions resnet;
  TransformerOptions transformer;
  int64_t head_dim;  ///< channels of a head, where a block type counts these instead of heads
  /// Transformer blocks behind each resnet, for block types with attention: at least `layers` of them.
  std::vector<int64_t> transformer_layers;

  // Of the "Simple" and "Resnet" block types only:
  bool skip_time_act = false;
  double output_scale_factor = 1;  ///< of their resnets, but those in the middle

  /// The transformer behind the i-th resnet.
  TransformerOptions transformer_at(int64_t i) const {
    TransformerOptions options = transformer;
    options.layers = transformer_layers.at(static_cast<size_t>(i));
    return options;
  }
};

/// One resolution level on the way down.
class UNetDownBlock : public Module {
 public:
  /// Appends outputs of layers to `skips` (consumed by the mirrored up block) and returns the last output.
  virtual at::Tensor forward(at::Tensor x, const TimeCondition& time, const TextCondition& text,
                             std::vector<at::Tensor>& skips) const = 0;

  /// How many skips it appends.
  virtual size_t skip_count() const = 0;

  /// How many of them have the resolution that it begins with.
  virtual size_t skips_of_own_resolution() const { return skip_count(); }
};

/// The lowest resolution.
class UNetMidBlock : public Module {
 public:
  virtual at::Tensor forward(at::Tensor x, const TimeCondition& time, const TextCondition& text) const = 0;
};

/// One resolution level on the way up; takes its skips from the end of `skips`.
class UNetUpBlock : public Module {
 public:
  /// @param match_skip_size upsample to the size of the next skip, for sizes that do not halve evenly
  virtual at::Tensor forward(at::Tensor x, const TimeCondition& time, const TextCondition& text,
                             std::vector<at::Tensor>& skips, bool match_skip_size) const = 0;
};

}  // namespace ip2p

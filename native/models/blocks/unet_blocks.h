#pragma once

#include <memory>
#include <string>
#include <vector>

#include "nn/resnet.h"
#include "nn/sampling.h"
#include "nn/transformer.h"

namespace ip2p {

/// The configuration of one block of a UNet.
struct UNetBlockOptions {
  int64_t in_channels;
  int64_t out_channels;
  int64_t prev_channels;  ///< channels coming up from the block below (up blocks)
  int64_t layers;
  bool resample;  ///< ends in a down- or upsampler
  int64_t downsample_padding;
  ResnetOptions resnet;
  TransformerOptions transformer;
};

/// One resolution level on the way down.
class UNetDownBlock : public Module {
 public:
  UNetDownBlock(const UNetBlockOptions& options, bool cross_attention);
  /// Appends each layer's output to `skips` (consumed by the mirrored up block) and returns the last.
  at::Tensor forward(at::Tensor x, const TimeCondition& time, const TextCondition& text,
                     std::vector<at::Tensor>& skips) const;

 private:
  ModuleList<ResnetBlock2D> resnets_;
  ModuleList<Transformer2DModel> attentions_;
  ModuleList<Downsample2D> downsamplers_;
};

/// Resnet, then transformer and resnet (or nothing more, without attention), at the lowest resolution.
class UNetMidBlock : public Module {
 public:
  UNetMidBlock(const UNetBlockOptions& options, bool cross_attention);
  at::Tensor forward(at::Tensor x, const TimeCondition& time, const TextCondition& text) const;

 private:
  ModuleList<ResnetBlock2D> resnets_;
  ModuleList<Transformer2DModel> attentions_;
};

/// One resolution level on the way up; each resnet takes one skip from the end of `skips`.
class UNetUpBlock : public Module {
 public:
  UNetUpBlock(const UNetBlockOptions& options, bool cross_attention);
  at::Tensor forward(at::Tensor x, const TimeCondition& time, const TextCondition& text,
                     std::vector<at::Tensor>& skips, bool match_skip_size) const;

 private:
  ModuleList<ResnetBlock2D> resnets_;
  ModuleList<Transformer2DModel> attentions_;
  ModuleList<Upsample2D> upsamplers_;
};

// The registry of block types by the names configurations use. An unknown name is ERR_CONFIG, with the key.
std::unique_ptr<UNetDownBlock> make_down_block(const std::string& type, const UNetBlockOptions& options);
std::unique_ptr<UNetMidBlock> make_mid_block(const std::string& type, const UNetBlockOptions& options);
std::unique_ptr<UNetUpBlock> make_up_block(const std::string& type, const UNetBlockOptions& options);

}  // namespace ip2p

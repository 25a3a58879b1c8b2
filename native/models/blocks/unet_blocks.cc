#include "models/blocks/unet_blocks.h"

#include <ATen/ops/cat.h>

#include "core/error.h"
#include "nn/gradient_checkpointing.h"

namespace ip2p {
namespace {

// The segments of gradient checkpointing: a resnet, a transformer.
at::Tensor run(const ResnetBlock2D& resnet, const at::Tensor& x, const TimeCondition& time) {
  return recomputed(
      [&resnet, time](const at::Tensor& in, const at::Tensor& embedding) {
        return resnet.forward(in, {embedding, time.row, time.cache});
      },
      x, time.embedding);
}

at::Tensor run(const Transformer2DModel& transformer, const at::Tensor& x, const TextCondition& text) {
  return recomputed(
      [&transformer, text](const at::Tensor& in, const at::Tensor& embeddings) {
        return transformer.forward(in, {embeddings, text.sample_rows, text.cache});
      },
      x, text.embeddings);
}

[[noreturn]] void unknown_type(const char* key, const std::string& type) {
  throw Error("ERR_CONFIG", std::string(key) + ": block type \"" + type + "\" is not supported");
}

}  // namespace

UNetDownBlock::UNetDownBlock(const UNetBlockOptions& options, bool cross_attention) {
  for (int64_t i = 0; i < options.layers; ++i) {
    resnets_.emplace(i == 0 ? options.in_channels : options.out_channels, options.out_channels,
                     options.resnet);
    if (cross_attention) attentions_.emplace(options.out_channels, options.transformer);
  }
  if (cross_attention) add_child("attentions", attentions_);
  add_child("resnets", resnets_);
  if (options.resample) {
    downsamplers_.emplace(options.out_channels, options.downsample_padding);
    add_child("downsamplers", downsamplers_);
  }
}

at::Tensor UNetDownBlock::forward(at::Tensor x, const TimeCondition& time, const TextCondition& text,
                                  std::vector<at::Tensor>& skips) const {
  for (size_t i = 0; i < resnets_.size(); ++i) {
    x = run(resnets_[i], x, time);
    if (!attentions_.empty()) x = run(attentions_[i], x, text);
    skips.push_back(x);
  }
  if (!downsamplers_.empty()) {
    x = downsamplers_[0].forward(x);
    skips.push_back(x);
  }
  return x;
}

UNetMidBlock::UNetMidBlock(const UNetBlockOptions& options, bool cross_attention) {
  resnets_.emplace(options.in_channels, options.in_channels, options.resnet);
  if (cross_attention) {
    attentions_.emplace(options.in_channels, options.transformer);
    resnets_.emplace(options.in_channels, options.in_channels, options.resnet);
    add_child("attentions", attentions_);
  }
  add_child("resnets", resnets_);
}

at::Tensor UNetMidBlock::forward(at::Tensor x, const TimeCondition& time, const TextCondition& text) const {
  x = run(resnets_[0], x, time);
  for (size_t i = 0; i < attentions_.size(); ++i)
    x = run(resnets_[i + 1], run(attentions_[i], x, text), time);
  return x;
}

UNetUpBlock::UNetUpBlock(const UNetBlockOptions& options, bool cross_attention) {
  for (int64_t i = 0; i < options.layers; ++i) {
    const int64_t below = i == 0 ? options.prev_channels : options.out_channels;
    const int64_t skip = i == options.layers - 1 ? options.in_channels : options.out_channels;
    resnets_.emplace(below + skip, options.out_channels, options.resnet);
    if (cross_attention) attentions_.emplace(options.out_channels, options.transformer);
  }
  if (cross_attention) add_child("attentions", attentions_);
  add_child("resnets", resnets_);
  if (options.resample) {
    upsamplers_.emplace(options.out_channels);
    add_child("upsamplers", upsamplers_);
  }
}

at::Tensor UNetUpBlock::forward(at::Tensor x, const TimeCondition& time, const TextCondition& text,
                                std::vector<at::Tensor>& skips, bool match_skip_size) const {
  for (size_t i = 0; i < resnets_.size(); ++i) {
    x = at::cat({x, skips.back()}, 1);
    skips.pop_back();
    x = run(resnets_[i], x, time);
    if (!attentions_.empty()) x = run(attentions_[i], x, text);
  }
  if (upsamplers_.empty()) return x;
  // For sizes that do not halve evenly, upsample to the size of the skip of the level above.
  if (match_skip_size) return upsamplers_[0].forward(x, skips.back().sizes().slice(2));
  return upsamplers_[0].forward(x);
}

std::unique_ptr<UNetDownBlock> make_down_block(const std::string& type, const UNetBlockOptions& options) {
  if (type == "DownBlock2D") return std::make_unique<UNetDownBlock>(options, false);
  if (type == "CrossAttnDownBlock2D") return std::make_unique<UNetDownBlock>(options, true);
  unknown_type("down_block_types", type);
}

std::unique_ptr<UNetMidBlock> make_mid_block(const std::string& type, const UNetBlockOptions& options) {
  if (type == "UNetMidBlock2D") return std::make_unique<UNetMidBlock>(options, false);
  if (type == "UNetMidBlock2DCrossAttn") return std::make_unique<UNetMidBlock>(options, true);
  unknown_type("mid_block_type", type);
}

std::unique_ptr<UNetUpBlock> make_up_block(const std::string& type, const UNetBlockOptions& options) {
  if (type == "UpBlock2D") return std::make_unique<UNetUpBlock>(options, false);
  if (type == "CrossAttnUpBlock2D") return std::make_unique<UNetUpBlock>(options, true);
  unknown_type("up_block_types", type);
}

}  // namespace ip2p

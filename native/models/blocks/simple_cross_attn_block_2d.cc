#include "models/blocks/simple_cross_attn_block_2d.h"

#include <ATen/ops/cat.h>

#include "core/error.h"
#include "models/blocks/segments.h"

namespace ip2p {
namespace {

AddedKVAttentionOptions attention_options(const UNetBlockOptions& options) {
  const TransformerOptions& transformer = options.transformer;
  return {options.head_dim, transformer.context_dim, transformer.groups, transformer.only_cross_attention,
          transformer.attention};
}

ResnetOptions resnet_options(const UNetBlockOptions& options,
                             ResnetResampling resampling = ResnetResampling::None) {
  ResnetOptions resnet = options.resnet;
  resnet.skip_time_act = options.skip_time_act;
  resnet.output_scale_factor = options.output_scale_factor;
  resnet.resampling = resampling;
  return resnet;
}

class SimpleDownBlock2D : public UNetDownBlock {
 public:
  SimpleDownBlock2D(const UNetBlockOptions& options, bool cross_attention) {
    const int64_t channels = options.out_channels;
    for (int64_t i = 0; i < options.layers; ++i) {
      resnets_.emplace(i == 0 ? options.in_channels : channels, channels, resnet_options(options));
      if (cross_attention) attentions_.emplace(channels, attention_options(options));
    }
    if (cross_attention) add_child("attentions", attentions_);
    add_child("resnets", resnets_);
    if (options.resample) {
      downsamplers_.emplace(channels, channels, resnet_options(options, ResnetResampling::Down));
      add_child("downsamplers", downsamplers_);
    }
  }

  size_t skip_count() const override { return resnets_.size() + downsamplers_.size(); }
  size_t skips_of_own_resolution() const override { return resnets_.size(); }

  at::Tensor forward(at::Tensor x, const TimeCondition& time, const TextCondition& text,
                     std::vector<at::Tensor>& skips) const override {
    for (size_t i = 0; i < resnets_.size(); ++i) {
      x = run(resnets_[i], x, time);
      if (!attentions_.empty()) x = run(attentions_[i], x, text);
      skips.push_back(x);
    }
    if (!downsamplers_.empty()) {
      x = run(downsamplers_[0], x, time);
      skips.push_back(x);
    }
    return x;
  }

 private:
  ModuleList<ResnetBlock2D> resnets_;
  ModuleList<AddedKVAttention> attentions_;
  ModuleList<ResnetBlock2D> downsamplers_;
};

class SimpleMidBlock2D : public UNetMidBlock {
 public:
  explicit SimpleMidBlock2D(const UNetBlockOptions& options) {
    resnets_.emplace(options.in_channels, options.in_channels, resnet_options(options));
    attentions_.emplace(options.in_channels, attention_options(options));
    resnets_.emplace(options.in_channels, options.in_channels, resnet_options(options));
    add_child("attentions", attentions_);
    add_child("resnets", resnets_);
  }

  at::Tensor forward(at::Tensor x, const TimeCondition& time, const TextCondition& text) const override {
    x = run(attentions_[0], run(resnets_[0], x, time), text);
    return run(resnets_[1], x, time);
  }

 private:
  ModuleList<ResnetBlock2D> resnets_;
  ModuleList<AddedKVAttention> attentions_;
};

class SimpleUpBlock2D : public UNetUpBlock {
 public:
  SimpleUpBlock2D(const UNetBlockOptions& options, bool cross_attention) {
    const int64_t channels = options.out_channels;
    for (int64_t i = 0; i < options.layers; ++i) {
      const int64_t below = i == 0 ? options.prev_channels : channels;
      const int64_t skip = i == options.layers - 1 ? options.in_channels : channels;
      resnets_.emplace(below + skip, channels, resnet_options(options));
      if (cross_attention) attentions_.emplace(channels, attention_options(options));
    }
    if (cross_attention) add_child("attentions", attentions_);
    add_child("resnets", resnets_);
    if (options.resample) {
      upsamplers_.emplace(channels, channels, resnet_options(options, ResnetResampling::Up));
      add_child("upsamplers", upsamplers_);
    }
  }

  at::Tensor forward(at::Tensor x, const TimeCondition& time, const TextCondition& text,
                     std::vector<at::Tensor>& skips, bool) const override {
    for (size_t i = 0; i < resnets_.size(); ++i) {
      // The upsampling resnet doubles, whatever size the skip has.
      if (x.sizes().slice(2) != skips.back().sizes().slice(2))
        throw Error(
            "ERR_INVALID_ARGUMENT",
            "the sample's height and width cannot be halved evenly on every level, which this model needs");
      x = at::cat({x, skips.back()}, 1);
      skips.pop_back();
      x = run(resnets_[i], x, time);
      if (!attentions_.empty()) x = run(attentions_[i], x, text);
    }
    return upsamplers_.empty() ? x : run(upsamplers_[0], x, time);
  }

 private:
  ModuleList<ResnetBlock2D> resnets_;
  ModuleList<AddedKVAttention> attentions_;
  ModuleList<ResnetBlock2D> upsamplers_;
};

}  // namespace

std::unique_ptr<UNetDownBlock> make_resnet_downsample_block_2d(const UNetBlockOptions& options) {
  return std::make_unique<SimpleDownBlock2D>(options, false);
}

std::unique_ptr<UNetDownBlock> make_simple_cross_attn_down_block_2d(const UNetBlockOptions& options) {
  return std::make_unique<SimpleDownBlock2D>(options, true);
}

std::unique_ptr<UNetMidBlock> make_simple_cross_attn_mid_block_2d(const UNetBlockOptions& options) {
  return std::make_unique<SimpleMidBlock2D>(options);
}

std::unique_ptr<UNetUpBlock> make_resnet_upsample_block_2d(const UNetBlockOptions& options) {
  return std::make_unique<SimpleUpBlock2D>(options, false);
}

std::unique_ptr<UNetUpBlock> make_simple_cross_attn_up_block_2d(const UNetBlockOptions& options) {
  return std::make_unique<SimpleUpBlock2D>(options, true);
}

}  // namespace ip2p

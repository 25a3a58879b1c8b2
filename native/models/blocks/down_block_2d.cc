#include "models/blocks/down_block_2d.h"

#include "models/blocks/segments.h"
#include "nn/sampling.h"

namespace ip2p {
namespace {

class DownBlock2D : public UNetDownBlock {
 public:
  DownBlock2D(const UNetBlockOptions& options, bool cross_attention) {
    for (int64_t i = 0; i < options.layers; ++i) {
      resnets_.emplace(i == 0 ? options.in_channels : options.out_channels, options.out_channels,
                       options.resnet);
      if (cross_attention) attentions_.emplace(options.out_channels, options.transformer_at(i));
    }
    if (cross_attention) add_child("attentions", attentions_);
    add_child("resnets", resnets_);
    if (options.resample) {
      downsamplers_.emplace(options.out_channels, options.downsample_padding);
      add_child("downsamplers", downsamplers_);
    }
  }

  at::Tensor forward(at::Tensor x, const TimeCondition& time, const TextCondition& text,
                     std::vector<at::Tensor>& skips) const override {
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

  size_t skip_count() const override { return resnets_.size() + downsamplers_.size(); }
  size_t skips_of_own_resolution() const override { return resnets_.size(); }

 private:
  ModuleList<ResnetBlock2D> resnets_;
  ModuleList<Transformer2DModel> attentions_;
  ModuleList<Downsample2D> downsamplers_;
};

}  // namespace

std::unique_ptr<UNetDownBlock> make_down_block_2d(const UNetBlockOptions& options) {
  return std::make_unique<DownBlock2D>(options, false);
}

std::unique_ptr<UNetDownBlock> make_cross_attn_down_block_2d(const UNetBlockOptions& options) {
  return std::make_unique<DownBlock2D>(options, true);
}

}  // namespace ip2p

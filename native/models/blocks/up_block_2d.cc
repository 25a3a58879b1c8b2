#include "models/blocks/up_block_2d.h"

#include <ATen/ops/cat.h>

#include "models/blocks/segments.h"
#include "nn/sampling.h"

namespace ip2p {
namespace {

class UpBlock2D : public UNetUpBlock {
 public:
  UpBlock2D(const UNetBlockOptions& options, bool cross_attention) {
    for (int64_t i = 0; i < options.layers; ++i) {
      const int64_t below = i == 0 ? options.prev_channels : options.out_channels;
      const int64_t skip = i == options.layers - 1 ? options.in_channels : options.out_channels;
      resnets_.emplace(below + skip, options.out_channels, options.resnet);
      if (cross_attention) attentions_.emplace(options.out_channels, options.transformer_at(i));
    }
    if (cross_attention) add_child("attentions", attentions_);
    add_child("resnets", resnets_);
    if (options.resample) {
      upsamplers_.emplace(options.out_channels);
      add_child("upsamplers", upsamplers_);
    }
  }

  at::Tensor forward(at::Tensor x, const TimeCondition& time, const TextCondition& text,
                     std::vector<at::Tensor>& skips, bool match_skip_size) const override {
    for (size_t i = 0; i < resnets_.size(); ++i) {
      x = at::cat({x, skips.back()}, 1);
      skips.pop_back();
      x = run(resnets_[i], x, time);
      if (!attentions_.empty()) x = run(attentions_[i], x, text);
    }
    if (upsamplers_.empty()) return x;
    if (match_skip_size) return upsamplers_[0].forward(x, skips.back().sizes().slice(2));
    return upsamplers_[0].forward(x);
  }

 private:
  ModuleList<ResnetBlock2D> resnets_;
  ModuleList<Transformer2DModel> attentions_;
  ModuleList<Upsample2D> upsamplers_;
};

}  // namespace

std::unique_ptr<UNetUpBlock> make_up_block_2d(const UNetBlockOptions& options) {
  return std::make_unique<UpBlock2D>(options, false);
}

std::unique_ptr<UNetUpBlock> make_cross_attn_up_block_2d(const UNetBlockOptions& options) {
  return std::make_unique<UpBlock2D>(options, true);
}

}  // namespace ip2p

#include "models/blocks/k_down_block_2d.h"

#include "models/blocks/k_block.h"
#include "models/blocks/segments.h"
#include "nn/k_attention.h"
#include "nn/k_sampling.h"

namespace ip2p {
namespace {

class KDownBlock2D : public UNetDownBlock {
 public:
  KDownBlock2D(const UNetBlockOptions& options, bool cross_attention)
      : resample_(options.resample), keeps_skip_(options.resample || !cross_attention) {
    const int64_t out = options.out_channels;
    for (int64_t i = 0; i < options.layers; ++i) {
      const int64_t in = i == 0 ? options.in_channels : out;
      resnets_.emplace(in, out, out, k_resnet_options(options, in));
      if (cross_attention) attentions_.emplace(out, k_attention_options(options, !options.resample));
    }
    add_child("resnets", resnets_);
    if (cross_attention) add_child("attentions", attentions_);
  }

  at::Tensor forward(at::Tensor x, const TimeCondition& time, const TextCondition& text,
                     std::vector<at::Tensor>& skips) const override {
    for (size_t i = 0; i < resnets_.size(); ++i) {
      x = run(resnets_[i], x, time);
      if (!attentions_.empty()) x = attentions_[i].forward(x, time, text);
    }
    if (keeps_skip_) skips.push_back(x);
    return resample_ ? k_downsample_2d(x) : x;
  }

  size_t skip_count() const override { return keeps_skip_ ? 1 : 0; }

 private:
  ModuleList<ResnetBlockCondNorm2D> resnets_;
  ModuleList<KAttentionBlock> attentions_;
  bool resample_, keeps_skip_;
};

}  // namespace

std::unique_ptr<UNetDownBlock> make_k_down_block_2d(const UNetBlockOptions& options) {
  return std::make_unique<KDownBlock2D>(options, false);
}

std::unique_ptr<UNetDownBlock> make_k_cross_attn_down_block_2d(const UNetBlockOptions& options) {
  return std::make_unique<KDownBlock2D>(options, true);
}

}  // namespace ip2p

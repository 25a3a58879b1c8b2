#include "models/blocks/mid_block_2d.h"

#include "models/blocks/segments.h"

namespace ip2p {
namespace {

class MidBlock2D : public UNetMidBlock {
 public:
  MidBlock2D(const UNetBlockOptions& options, bool cross_attention) {
    resnets_.emplace(options.in_channels, options.in_channels, options.resnet);
    if (cross_attention) {
      TransformerOptions transformer = options.transformer_at(0);
      // only_cross_attention never reaches this kind of middle block.
      transformer.only_cross_attention = false;
      attentions_.emplace(options.in_channels, transformer);
      resnets_.emplace(options.in_channels, options.in_channels, options.resnet);
      add_child("attentions", attentions_);
    }
    add_child("resnets", resnets_);
  }

  at::Tensor forward(at::Tensor x, const TimeCondition& time, const TextCondition& text) const override {
    x = run(resnets_[0], x, time);
    for (size_t i = 0; i < attentions_.size(); ++i)
      x = run(resnets_[i + 1], run(attentions_[i], x, text), time);
    return x;
  }

 private:
  ModuleList<ResnetBlock2D> resnets_;
  ModuleList<Transformer2DModel> attentions_;
};

}  // namespace

std::unique_ptr<UNetMidBlock> make_mid_block_2d(const UNetBlockOptions& options) {
  return std::make_unique<MidBlock2D>(options, false);
}

std::unique_ptr<UNetMidBlock> make_cross_attn_mid_block_2d(const UNetBlockOptions& options) {
  return std::make_unique<MidBlock2D>(options, true);
}

}  // namespace ip2p

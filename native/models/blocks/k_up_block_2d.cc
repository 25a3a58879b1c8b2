#include "models/blocks/k_up_block_2d.h"

#include <ATen/ops/cat.h>

#include "core/error.h"
#include "models/blocks/k_block.h"
#include "models/blocks/segments.h"
#include "nn/k_attention.h"
#include "nn/k_sampling.h"

namespace ip2p {
namespace {

/// What differs between the two kinds of block.
struct Layout {
  int64_t in_channels;  ///< of the first resnet
  bool cross_attention;
  bool self_attention;
  bool widens_late;  ///< the last resnet changes the width in its second convolution, else in its first
};

class KUpBlock2D : public UNetUpBlock {
 public:
  KUpBlock2D(const UNetBlockOptions& options, const Layout& layout)
      : takes_skip_(options.skip_channels > 0), resample_(options.resample) {
    // The block below has ended in this level's width.
    const int64_t given = options.out_channels + options.skip_channels;
    if (given != layout.in_channels)
      throw Error("ERR_CONFIG", "an up block of " + std::to_string(options.out_channels) + " channels gets " +
                                    std::to_string(given) + " channels but takes " +
                                    std::to_string(layout.in_channels) +
                                    " (block_out_channels, time_embedding_dim)");
    const int64_t width = options.out_channels;
    const int64_t layers = options.layers - 1;  // one less than other up blocks, since there is one skip
    for (int64_t i = 0; i < layers; ++i) {
      const int64_t in = i == 0 ? layout.in_channels : width;
      const int64_t out = i + 1 == layers ? options.in_channels : width;
      resnets_.emplace(in, layout.widens_late ? width : out, out, k_resnet_options(options, in));
      if (layout.cross_attention)
        attentions_.emplace(out, k_attention_options(options, layout.self_attention));
    }
    add_child("resnets", resnets_);
    if (layout.cross_attention) add_child("attentions", attentions_);
  }

  at::Tensor forward(at::Tensor x, const TimeCondition& time, const TextCondition& text,
                     std::vector<at::Tensor>& skips, bool) const override {
    if (takes_skip_) {
      x = at::cat({x, skips.back()}, 1);
      skips.pop_back();
    }
    for (size_t i = 0; i < resnets_.size(); ++i) {
      x = run(resnets_[i], x, time);
      if (!attentions_.empty()) x = attentions_[i].forward(x, time, text);
    }
    return resample_ ? k_upsample_2d(x) : x;
  }

 private:
  ModuleList<ResnetBlockCondNorm2D> resnets_;
  ModuleList<KAttentionBlock> attentions_;
  bool takes_skip_, resample_;
};

}  // namespace

std::unique_ptr<UNetUpBlock> make_k_up_block_2d(const UNetBlockOptions& options) {
  return std::make_unique<KUpBlock2D>(options, Layout{2 * options.out_channels, false, false, false});
}

std::unique_ptr<UNetUpBlock> make_k_cross_attn_up_block_2d(const UNetBlockOptions& options) {
  const int64_t width = options.out_channels;
  const bool first = options.in_channels == width && options.resnet.time_embedding_dim == width;
  return std::make_unique<KUpBlock2D>(options, Layout{first ? width : 2 * width, true, first, true});
}

}  // namespace ip2p

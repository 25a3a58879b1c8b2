#include "nn/transformer.h"

#include <algorithm>

#include "core/cancel.h"
#include "core/error.h"
#include "kernels/ops.h"

namespace ip2p {
namespace {

constexpr int64_t kFeedForwardFactor = 4;
constexpr double kLayerNormEps = 1e-5;
constexpr double kGroupNormEps = 1e-6;  // fixed, whatever norm_eps says

}  // namespace

BasicTransformerBlock::FeedForward::Net::Net(int64_t channels)
    : gate(channels, kFeedForwardFactor * channels), out(kFeedForwardFactor * channels, channels) {
  add_child("0", gate);
  add_child("2", out);
}

BasicTransformerBlock::FeedForward::FeedForward(int64_t channels) : net_(channels) {
  add_child("net", net_);
}

at::Tensor BasicTransformerBlock::FeedForward::forward(const at::Tensor& x,
                                                       const at::Tensor& residual) const {
  return net_.out.forward(geglu(net_.gate.proj.forward(x)), residual);
}

BasicTransformerBlock::BasicTransformerBlock(int64_t channels, const TransformerOptions& options)
    : norm1_(channels, kLayerNormEps),
      norm2_(channels, kLayerNormEps),
      norm3_(channels, kLayerNormEps),
      attn1_({channels, options.only_cross_attention ? options.context_dim : channels, options.heads,
              options.attention}),
      attn2_({channels, options.context_dim, options.heads, options.attention}),
      only_cross_attention_(options.only_cross_attention),
      ff_(channels) {
  add_child("norm1", norm1_);
  add_child("attn1", attn1_);
  add_child("norm2", norm2_);
  add_child("attn2", attn2_);
  add_child("norm3", norm3_);
  add_child("ff", ff_);
}

void BasicTransformerBlock::quantize() {
  if (only_cross_attention_)
    attn1_.quantize_queries();
  else
    attn1_.quantize();
  attn2_.quantize_queries();
  ff_.quantize();
}

at::Tensor BasicTransformerBlock::forward(at::Tensor x, const TextCondition& text) const {
  const at::Tensor normed = norm1_.forward(x);
  if (only_cross_attention_) {
    x = text.expand_rows(x);
    x = attn1_.forward(text.expand_rows(normed), text.embeddings, x, text.cache);
  } else {
    x = text.expand_rows(attn1_.forward(normed, normed, x));
  }
  x = attn2_.forward(norm2_.forward(x), text.embeddings, x, text.cache);
  return ff_.forward(norm3_.forward(x), x);
}

Transformer2DModel::Transformer2DModel(int64_t channels, const TransformerOptions& options)
    // If the heads do not divide the channels evenly, the inner width is smaller.
    : inner_channels_(options.heads * (channels / std::max<int64_t>(options.heads, 1))),
      norm_(options.groups, channels, kGroupNormEps) {
  if (inner_channels_ <= 0)
    throw Error("ERR_CONFIG", std::to_string(channels) + " channels cannot be split over " +
                                  std::to_string(options.heads) + " attention heads (attention_head_dim)");
  add_child("norm", norm_);
  if (options.use_linear_projection) {
    linear_in_ = std::make_unique<Linear>(channels, inner_channels_);
    linear_out_ = std::make_unique<Linear>(inner_channels_, channels);
    add_child("proj_in", *linear_in_);
  } else {
    conv_in_ = std::make_unique<Conv2d>(channels, inner_channels_, 1);
    conv_out_ = std::make_unique<Conv2d>(inner_channels_, channels, 1);
    add_child("proj_in", *conv_in_);
  }
  for (int64_t i = 0; i < options.layers; ++i) blocks_.emplace(inner_channels_, options);
  add_child("transformer_blocks", blocks_);
  if (linear_out_) {
    add_child("proj_out", *linear_out_);
  } else {
    add_child("proj_out", *conv_out_);
  }
}

at::Tensor Transformer2DModel::forward(const at::Tensor& x, const TextCondition& text) const {
  const int64_t H = x.size(2), W = x.size(3);
  const at::MemoryFormat layout = x.suggest_memory_format();
  const auto to_tokens = [&](const at::Tensor& map) {
    return map.permute({0, 2, 3, 1}).reshape({map.size(0), H * W, map.size(1)});
  };
  const auto to_map = [&](const at::Tensor& tokens) {
    return tokens.reshape({tokens.size(0), H, W, tokens.size(2)}).permute({0, 3, 1, 2}).contiguous(layout);
  };
  at::Tensor tokens = norm_.forward(x);
  tokens = linear_in_ ? linear_in_->forward(to_tokens(tokens)) : to_tokens(conv_in_->forward(tokens));
  for (size_t i = 0; i < blocks_.size(); ++i) {
    check_cancelled();
    tokens = blocks_[i].forward(tokens, text);
  }
  const at::Tensor residual = text.expand_rows(x);
  return linear_out_ ? to_map(linear_out_->forward(tokens)) + residual
                     : conv_out_->forward(to_map(tokens), residual);
}

}  // namespace ip2p

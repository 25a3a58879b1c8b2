#include "nn/k_attention.h"

#include <algorithm>

#include "core/cancel.h"
#include "core/error.h"

namespace ip2p {
namespace {

constexpr int64_t kGroupSize = 32;
constexpr double kGroupNormEps = 1e-5;  // fixed, whatever norm_eps says

AttentionOptions attention_options(int64_t channels, int64_t context_dim, const KAttentionOptions& options) {
  const int64_t heads = options.head_dim > 0 ? channels / options.head_dim : 0;
  if (heads <= 0)
    throw Error("ERR_CONFIG", std::to_string(channels) + " channels have no attention head of " +
                                  std::to_string(options.head_dim) + " channels (attention_head_dim)");
  AttentionOptions result{channels, context_dim, heads, options.attention};
  // If the heads do not divide the channels evenly, the inner width is smaller.
  result.inner_dim = heads * options.head_dim;
  result.bias = true;
  return result;
}

AttentionOptions cross_attention_options(int64_t channels, const KAttentionOptions& options) {
  AttentionOptions result = attention_options(channels, options.context_dim, options);
  result.norm_context = true;
  return result;
}

int64_t groups_of(int64_t channels) {
  return std::max<int64_t>(1, channels / kGroupSize);
}

/// [B,C,H,W] → [B,H·W,C]
at::Tensor to_tokens(const at::Tensor& map) {
  return map.permute({0, 2, 3, 1}).reshape({map.size(0), map.size(2) * map.size(3), map.size(1)});
}

/// [B,H·W,C] → [B,C,H,W], of the size and in the memory layout of `like`
at::Tensor to_map(const at::Tensor& tokens, const at::Tensor& like) {
  return tokens.reshape({tokens.size(0), like.size(2), like.size(3), tokens.size(2)})
      .permute({0, 3, 1, 2})
      .contiguous(like.suggest_memory_format());
}

}  // namespace

KAttentionBlock::KAttentionBlock(int64_t channels, const KAttentionOptions& options)
    : norm2_(options.embedding_dim, channels, groups_of(channels), kGroupNormEps),
      attn2_(cross_attention_options(channels, options)) {
  if (options.self_attention) {
    norm1_ =
        std::make_unique<AdaGroupNorm>(options.embedding_dim, channels, groups_of(channels), kGroupNormEps);
    attn1_ = std::make_unique<Attention>(attention_options(channels, channels, options));
    add_child("norm1", *norm1_);
    add_child("attn1", *attn1_);
  }
  add_child("norm2", norm2_);
  add_child("attn2", attn2_);
}

void KAttentionBlock::quantize() {
  if (attn1_) attn1_->quantize();
  attn2_.quantize_queries();
}

at::Tensor KAttentionBlock::forward(const at::Tensor& x, const TimeCondition& time,
                                    const TextCondition& text) const {
  check_cancelled();
  at::Tensor map = x;
  if (attn1_) {
    const at::Tensor normed = to_tokens(norm1_->forward(map, time));
    map = to_map(attn1_->forward(normed, normed, to_tokens(map)), map);
  }
  map = text.expand_rows(map);
  const at::Tensor normed = to_tokens(norm2_.forward(map, time));
  return to_map(attn2_.forward(normed, text.embeddings, to_tokens(map), text.cache), map);
}

}  // namespace ip2p

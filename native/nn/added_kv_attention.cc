#include "nn/added_kv_attention.h"

#include <ATen/ops/cat.h>

#include "core/cancel.h"
#include "core/error.h"

namespace ip2p {
namespace {

constexpr double kNormEps = 1e-5;  // fixed, whatever norm_eps says

int64_t head_count(int64_t channels, int64_t head_dim) {
  if (head_dim <= 0 || channels % head_dim != 0)
    throw Error("ERR_CONFIG", std::to_string(channels) +
                                  " channels cannot be split into attention heads of " +
                                  std::to_string(head_dim) + " (attention_head_dim)");
  return channels / head_dim;
}

}  // namespace

AddedKVAttention::AddedKVAttention(int64_t channels, const AddedKVAttentionOptions& options)
    : group_norm_(options.groups, channels, kNormEps),
      to_q_(channels, channels),
      add_k_proj_(options.context_dim, channels),
      add_v_proj_(options.context_dim, channels),
      heads_(head_count(channels, options.head_dim)),
      backend_(options.attention) {
  add_child("group_norm", group_norm_);
  add_child("to_q", to_q_);
  if (!options.only_cross_attention) {
    to_k_ = std::make_unique<Linear>(channels, channels);
    to_v_ = std::make_unique<Linear>(channels, channels);
    add_child("to_k", *to_k_);
    add_child("to_v", *to_v_);
  }
  add_child("add_k_proj", add_k_proj_);
  add_child("add_v_proj", add_v_proj_);
  out_ = &to_out_.emplace<Linear>(channels, channels);
  add_child("to_out", to_out_);
}

void AddedKVAttention::quantize() {
  to_q_.quantize();
  if (to_k_) to_k_->quantize();
  if (to_v_) to_v_->quantize();
  out_->quantize();
}

at::Tensor AddedKVAttention::forward(const at::Tensor& shared, const TextCondition& text) const {
  check_cancelled();
  const at::Tensor x = text.expand_rows(shared);
  // [B,C,H,W] → [B,H·W,C]
  const at::Tensor tokens = group_norm_.forward(x).flatten(2).transpose(1, 2);
  const auto project = [&] {
    return std::vector<at::Tensor>{add_k_proj_.forward(text.embeddings),
                                   add_v_proj_.forward(text.embeddings)};
  };
  std::vector<at::Tensor> kv = text.cache ? text.cache->get(this, text.embeddings, project) : project();
  if (to_k_) kv = {at::cat({kv[0], to_k_->forward(tokens)}, 1), at::cat({kv[1], to_v_->forward(tokens)}, 1)};
  const at::Tensor attended =
      multi_head_attention(to_q_.forward(tokens), kv[0], kv[1], heads_, false, backend_);
  return out_->forward(attended).transpose(1, 2).reshape(x.sizes()) + x;
}

}  // namespace ip2p

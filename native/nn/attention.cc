#include "nn/attention.h"

#include <ATen/ops/matmul.h>

#include <cmath>

#include "core/error.h"

namespace ip2p {
namespace {

constexpr double kContextNormEps = 1e-5;

int64_t checked_heads(int64_t channels, int64_t heads) {
  if (heads <= 0 || channels % heads != 0)
    throw Error("ERR_CONFIG", std::to_string(channels) + " channels cannot be split over " +
                                  std::to_string(heads) + " attention heads (attention_head_dim)");
  return heads;
}

int64_t inner_dim(const AttentionOptions& options) {
  return options.inner_dim > 0 ? options.inner_dim : options.query_dim;
}

/// [B,T,H·D] → [B,H,T,D]
at::Tensor split_heads(const at::Tensor& x, int64_t heads) {
  return x.view({x.size(0), x.size(1), heads, x.size(2) / heads}).transpose(1, 2);
}

/// [B,H,T,D] → [B,T,H·D]
at::Tensor join_heads(const at::Tensor& x) {
  return x.transpose(1, 2).reshape({x.size(0), x.size(2), x.size(1) * x.size(3)});
}

}  // namespace

at::Tensor multi_head_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, int64_t heads,
                                bool causal, AttentionBackend backend) {
  return join_heads(
      attention(split_heads(q, heads), split_heads(k, heads), split_heads(v, heads), causal, backend));
}

at::Tensor masked_multi_head_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                       int64_t heads, const at::Tensor& mask) {
  const at::Tensor keys = split_heads(k, heads);
  const double scale = 1.0 / std::sqrt(static_cast<double>(keys.size(3)));
  const at::Tensor scores = at::matmul(split_heads(q, heads), keys.transpose(2, 3)) * scale + mask;
  return join_heads(at::matmul(scores.softmax(-1), split_heads(v, heads)));
}

Attention::Attention(const AttentionOptions& options)
    : to_q_(options.query_dim, inner_dim(options), options.bias),
      to_k_(options.context_dim, inner_dim(options), options.bias),
      to_v_(options.context_dim, inner_dim(options), options.bias),
      heads_(checked_heads(inner_dim(options), options.heads)),
      backend_(options.backend) {
  if (options.norm_context) {
    norm_cross_ = std::make_unique<LayerNorm>(options.context_dim, kContextNormEps);
    add_child("norm_cross", *norm_cross_);
  }
  add_child("to_q", to_q_);
  add_child("to_k", to_k_);
  add_child("to_v", to_v_);
  out_ = &to_out_.emplace<Linear>(inner_dim(options), options.query_dim);
  add_child("to_out", to_out_);
}

void Attention::quantize_queries() {
  to_q_.quantize();
  out_->quantize();
}

at::Tensor Attention::forward(const at::Tensor& x, const at::Tensor& context, const at::Tensor& residual,
                              UNetCache* cache) const {
  const auto project = [&] {
    const at::Tensor normed = norm_cross_ ? norm_cross_->forward(context) : context;
    return std::vector<at::Tensor>{to_k_.forward(normed), to_v_.forward(normed)};
  };
  // First, as in diffusers: buckets of averaged gradients follow the order in which backward reaches them.
  const at::Tensor q = to_q_.forward(x);
  const std::vector<at::Tensor> kv = cache ? cache->get(this, context, project) : project();
  const at::Tensor attended = multi_head_attention(q, kv[0], kv[1], heads_, false, backend_);
  return out_->forward(attended, residual);
}

SpatialAttention::SpatialAttention(int64_t channels, int64_t head_dim, AttentionBackend backend)
    : to_q_(channels, channels),
      to_k_(channels, channels),
      to_v_(channels, channels),
      heads_(checked_heads(channels, channels / head_dim)),
      backend_(backend) {}

SpatialAttention::SpatialAttention(int64_t channels, int64_t head_dim, int64_t groups, double eps,
                                   AttentionBackend backend)
    : SpatialAttention(channels, head_dim, backend) {
  group_norm_ = std::make_unique<GroupNorm>(groups, channels, eps);
  add_child("group_norm", *group_norm_);
  add_projections(channels);
}

SpatialAttention::SpatialAttention(int64_t channels, int64_t head_dim, int64_t latent_channels,
                                   AttentionBackend backend)
    : SpatialAttention(channels, head_dim, backend) {
  spatial_norm_ = std::make_unique<SpatialNorm>(channels, latent_channels);
  add_child("spatial_norm", *spatial_norm_);
  add_projections(channels);
}

void SpatialAttention::add_projections(int64_t channels) {
  add_child("to_q", to_q_);
  add_child("to_k", to_k_);
  add_child("to_v", to_v_);
  out_ = &to_out_.emplace<Linear>(channels, channels);
  add_child("to_out", to_out_);
}

at::Tensor SpatialAttention::forward(const at::Tensor& x, const at::Tensor& latents) const {
  const at::Tensor normed = group_norm_ ? group_norm_->forward(x) : spatial_norm_->forward(x, latents);
  // [B,C,H,W] → [B,H·W,C]
  const at::Tensor tokens = normed.flatten(2).transpose(1, 2);
  const at::Tensor q = to_q_.forward(tokens), k = to_k_.forward(tokens), v = to_v_.forward(tokens);
  const at::Tensor attended = multi_head_attention(q, k, v, heads_, false, backend_);
  return out_->forward(attended).transpose(1, 2).reshape(x.sizes()) + x;
}

}  // namespace ip2p

#include "models/prior_transformer.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/full.h>
#include <ATen/ops/gelu.h>

#include "core/cancel.h"
#include "core/error.h"

namespace ip2p {
namespace {

constexpr double kNormEps = 1e-5;
constexpr int64_t kFeedForwardFactor = 4;
constexpr double kHidden = -10000.0;  // added to the scores of tokens that are not looked at

}  // namespace

PriorTransformerConfig::PriorTransformerConfig(const ConfigValue& config)
    : num_attention_heads(config.integer("num_attention_heads")),
      attention_head_dim(config.integer("attention_head_dim")),
      num_layers(config.integer("num_layers")),
      embedding_dim(config.integer("embedding_dim")),
      num_embeddings(config.integer("num_embeddings")),
      additional_embeddings(config.integer("additional_embeddings")),
      time_embed_act_fn(config.string("time_embed_act_fn")),
      norm_in(config.string_or("norm_in_type", "") == "layer"),
      embedding_proj_norm(config.string_or("embedding_proj_norm_type", "") == "layer"),
      encoder_hid_proj(config.string_or("encoder_hid_proj_type", "") == "linear"),
      added_token(config.string_or("added_emb_type", "") == "prd"),
      time_embed_dim(config.integer("time_embed_dim")),
      embedding_proj_dim(config.integer("embedding_proj_dim")),
      clip_embed_dim(config.integer("clip_embed_dim")) {
  if (num_attention_heads <= 0 || attention_head_dim <= 0)
    throw Error("ERR_CONFIG", "num_attention_heads and attention_head_dim must be above 0");
}

PriorTransformer::Block::SelfAttention::SelfAttention(int64_t channels, int64_t heads,
                                                      AttentionBackend backend)
    : to_q(channels, channels),
      to_k(channels, channels),
      to_v(channels, channels),
      heads(heads),
      backend(backend) {
  add_child("to_q", to_q);
  add_child("to_k", to_k);
  add_child("to_v", to_v);
  out = &to_out.emplace<Linear>(channels, channels);
  add_child("to_out", to_out);
}

at::Tensor PriorTransformer::Block::SelfAttention::forward(const at::Tensor& x, const at::Tensor& residual,
                                                           const at::Tensor& mask) const {
  const at::Tensor q = to_q.forward(x), k = to_k.forward(x), v = to_v.forward(x);
  const at::Tensor attended = mask.defined() ? masked_multi_head_attention(q, k, v, heads, mask)
                                             : multi_head_attention(q, k, v, heads, false, backend);
  return out->forward(attended, residual);
}

PriorTransformer::Block::Net::Net(int64_t channels)
    : hidden(channels, kFeedForwardFactor * channels), out(kFeedForwardFactor * channels, channels) {
  add_child("0", hidden);
  add_child("2", out);
}

PriorTransformer::Block::Block(int64_t channels, int64_t heads, AttentionBackend backend)
    : norm1_(channels, kNormEps),
      attn1_(channels, heads, backend),
      norm3_(channels, kNormEps),
      ff_(channels) {
  add_child("norm1", norm1_);
  add_child("attn1", attn1_);
  add_child("norm3", norm3_);
  add_child("ff", ff_);
}

at::Tensor PriorTransformer::Block::forward(at::Tensor x, const at::Tensor& mask) const {
  x = attn1_.forward(norm1_.forward(x), x, mask);
  return ff_.net.out.forward(at::gelu(ff_.net.hidden.proj.forward(norm3_.forward(x))), x);
}

PriorTransformer::PriorTransformer(const PriorTransformerConfig& config, AttentionBackend attention)
    : config_(config),
      time_embedding_(config.inner_dim(), config.time_embed_dim, config.time_embed_act_fn, 0, "",
                      config.inner_dim()),
      proj_in_(config.embedding_dim, config.inner_dim()),
      embedding_proj_(config.embedding_proj_dim, config.inner_dim()),
      norm_out_(config.inner_dim(), kNormEps),
      proj_to_clip_embeddings_(config.inner_dim(), config.clip_embed_dim) {
  add_parameter("positional_embedding", positional_embedding_,
                {1, config.num_embeddings + config.additional_embeddings, config.inner_dim()});
  if (config.added_token) add_parameter("prd_embedding", prd_embedding_, {1, 1, config.inner_dim()});
  add_parameter("clip_mean", clip_mean_, {1, config.clip_embed_dim});
  add_parameter("clip_std", clip_std_, {1, config.clip_embed_dim});
  add_child("time_embedding", time_embedding_);
  add_child("proj_in", proj_in_);
  if (config.embedding_proj_norm) {
    embedding_proj_norm_ = std::make_unique<LayerNorm>(config.embedding_proj_dim, kNormEps);
    add_child("embedding_proj_norm", *embedding_proj_norm_);
  }
  add_child("embedding_proj", embedding_proj_);
  if (config.encoder_hid_proj) {
    encoder_hidden_states_proj_ = std::make_unique<Linear>(config.embedding_dim, config.inner_dim());
    add_child("encoder_hidden_states_proj", *encoder_hidden_states_proj_);
  }
  for (int64_t i = 0; i < config.num_layers; ++i)
    blocks_.emplace(config.inner_dim(), config.num_attention_heads, attention);
  add_child("transformer_blocks", blocks_);
  if (config.norm_in) {
    norm_in_ = std::make_unique<LayerNorm>(config.inner_dim(), kNormEps);
    add_child("norm_in", *norm_in_);
  }
  add_child("norm_out", norm_out_);
  add_child("proj_to_clip_embeddings", proj_to_clip_embeddings_);
}

at::Tensor PriorTransformer::forward(const at::Tensor& sample, const at::Tensor& timesteps,
                                     const at::Tensor& text_embeds, const at::Tensor& text_states,
                                     const at::Tensor& mask) const {
  const int64_t B = sample.size(0);
  const at::Tensor sinusoid =
      timestep_embedding(timesteps.to(sample.device()).expand({B}), config_.inner_dim(), true, 0);
  const at::Tensor time = time_embedding_.forward(sinusoid.to(sample.scalar_type()));
  const at::Tensor pooled = embedding_proj_.forward(
      embedding_proj_norm_ ? embedding_proj_norm_->forward(text_embeds) : text_embeds);
  std::vector<at::Tensor> tokens;
  if (text_states.defined())
    tokens.push_back(encoder_hidden_states_proj_ ? encoder_hidden_states_proj_->forward(text_states)
                                                 : text_states);
  tokens.push_back(pooled.unsqueeze(1));
  tokens.push_back(time.unsqueeze(1));
  tokens.push_back(proj_in_.forward(sample).unsqueeze(1));
  if (config_.added_token) tokens.push_back((*prd_embedding_).expand({B, -1, -1}));
  at::Tensor x = at::cat(tokens, 1);

  at::Tensor positions = *positional_embedding_;
  const int64_t in_front = (text_states.defined() ? text_states.size(1) : 0) + 2;
  // A table without entries for the additional tokens leaves these without a position.
  if (positions.size(1) < x.size(1))
    positions = at::constant_pad_nd(positions, {0, 0, in_front, config_.added_token ? 1 : 0});
  if (positions.size(1) != x.size(1))
    throw Error("ERR_INVALID_ARGUMENT", std::to_string(x.size(1)) + " tokens do not fit the prior's " +
                                            std::to_string(positions.size(1)) + " positions");
  x = x + positions;

  at::Tensor added;
  if (mask.defined()) {
    const int64_t T = config_.num_embeddings + config_.additional_embeddings;
    const at::Tensor padding =
        at::constant_pad_nd((1 - mask.to(x.scalar_type())) * kHidden, {0, config_.additional_embeddings});
    const at::Tensor causal = at::full({T, T}, kHidden, x.options()).triu(1);
    added = (padding.view({B, 1, 1, T}) + causal).contiguous();
  }
  if (norm_in_) x = norm_in_->forward(x);
  for (size_t i = 0; i < blocks_.size(); ++i) {
    check_cancelled();
    x = blocks_[i].forward(x, added);
  }
  x = norm_out_.forward(x);
  return proj_to_clip_embeddings_.forward(config_.added_token ? x.select(1, -1) : x.slice(1, in_front));
}

at::Tensor PriorTransformer::post_process(const at::Tensor& embeddings) const {
  return embeddings * *clip_std_ + *clip_mean_;
}

}  // namespace ip2p

#pragma once

#include <memory>
#include <string>

#include "models/model.h"
#include "nn/attention.h"
#include "nn/embeddings.h"

namespace ip2p {

/// The keys of a prior's config.json that shape it (lib/models/prior_transformer.ts fills in defaults).
struct PriorTransformerConfig {
  explicit PriorTransformerConfig(const ConfigValue& config);

  int64_t num_attention_heads;
  int64_t attention_head_dim;
  int64_t num_layers;
  int64_t embedding_dim;
  int64_t num_embeddings;
  int64_t additional_embeddings;
  std::string time_embed_act_fn;
  bool norm_in;
  bool embedding_proj_norm;
  bool encoder_hid_proj;
  bool added_token;  ///< a learned token behind all others, whose output is the prediction
  int64_t time_embed_dim;
  int64_t embedding_proj_dim;
  int64_t clip_embed_dim;

  int64_t inner_dim() const { return num_attention_heads * attention_head_dim; }
};

/// Predicts an image embedding from a noisy one and a text (Ramesh et al. 2022, "Hierarchical
/// Text-Conditional Image Generation with CLIP Latents", https://arxiv.org/abs/2204.06125): a transformer
/// over the tokens of the text, the text's embedding, the timestep and the noisy embedding.
class PriorTransformer : public Model {
 public:
  PriorTransformer(const PriorTransformerConfig& config, AttentionBackend attention);

  /// sample: [B,embedding_dim]; timesteps: [B] or [1]; text_embeds: [B,embedding_proj_dim]; text_states:
  /// [B,num_embeddings,embedding_dim], or undefined for a model without them; mask: [B,num_embeddings], 0 for
  /// padding, or undefined: every token then looks at every other → [B,clip_embed_dim], or
  /// [B,1,clip_embed_dim] without the added token
  at::Tensor forward(const at::Tensor& sample, const at::Tensor& timesteps, const at::Tensor& text_embeds,
                     const at::Tensor& text_states, const at::Tensor& mask) const;

  /// Undoes the normalisation of predicted embeddings.
  at::Tensor post_process(const at::Tensor& embeddings) const;

  const PriorTransformerConfig& config() const { return config_; }

 private:
  /// Layer norm, self-attention, layer norm, GELU feed-forward, each with its residual. x: [B,T,C]
  class Block : public Module {
   public:
    Block(int64_t channels, int64_t heads, AttentionBackend backend);
    at::Tensor forward(at::Tensor x, const at::Tensor& mask) const;

   private:
    struct SelfAttention : public Module {
      SelfAttention(int64_t channels, int64_t heads, AttentionBackend backend);
      at::Tensor forward(const at::Tensor& x, const at::Tensor& residual, const at::Tensor& mask) const;
      Linear to_q, to_k, to_v;
      ModuleList<Module> to_out;
      Linear* out;
      int64_t heads;
      AttentionBackend backend;
    };
    struct Gelu : public Module {
      Gelu(int64_t in, int64_t out) : proj(in, out) { add_child("proj", proj); }
      Linear proj;
    };
    struct Net : public Module {
      explicit Net(int64_t channels);
      Gelu hidden;
      Linear out;
    };
    struct FeedForward : public Module {
      explicit FeedForward(int64_t channels) : net(channels) { add_child("net", net); }
      Net net;
    };
    LayerNorm norm1_;
    SelfAttention attn1_;
    LayerNorm norm3_;
    FeedForward ff_;
  };

  PriorTransformerConfig config_;
  TimestepEmbedding time_embedding_;
  Linear proj_in_;
  std::unique_ptr<LayerNorm> embedding_proj_norm_;
  Linear embedding_proj_;
  std::unique_ptr<Linear> encoder_hidden_states_proj_;
  Parameter positional_embedding_, prd_embedding_;
  ModuleList<Block> blocks_;
  std::unique_ptr<LayerNorm> norm_in_;
  LayerNorm norm_out_;
  Linear proj_to_clip_embeddings_;
  Parameter clip_mean_, clip_std_;
};

}  // namespace ip2p

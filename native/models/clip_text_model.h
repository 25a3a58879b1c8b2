#pragma once

#include <string>
#include <vector>

#include "models/model.h"
#include "nn/attention.h"

namespace ip2p {

/// The keys of a CLIP text encoder's config.json that shape this model (lib/models/clip_text_model.ts fills
/// in defaults).
struct CLIPTextConfig {
  explicit CLIPTextConfig(const ConfigValue& config);

  int64_t vocab_size;
  int64_t hidden_size;
  int64_t intermediate_size;
  int64_t num_hidden_layers;
  int64_t num_attention_heads;
  int64_t max_position_embeddings;
  std::string hidden_act;
  double layer_norm_eps;
  int64_t eos_token_id;
  int64_t projection_dim;  ///< of CLIPTextModelWithProjection; 0: no projection
};

/// Pre-norm transformer layer: causal self-attention and a two-layer perceptron, each with its residual.
class CLIPEncoderLayer : public Module {
 public:
  CLIPEncoderLayer(const CLIPTextConfig& config, AttentionBackend attention)
      : self_attn_(config.hidden_size, config.num_attention_heads, attention),
        layer_norm1_(config.hidden_size, config.layer_norm_eps),
        mlp_(config),
        layer_norm2_(config.hidden_size, config.layer_norm_eps) {
    add_child("self_attn", self_attn_);
    add_child("layer_norm1", layer_norm1_);
    add_child("mlp", mlp_);
    add_child("layer_norm2", layer_norm2_);
  }

  /// mask: additive [B,1,T,T], or undefined for causal attention alone
  at::Tensor forward(at::Tensor x, const at::Tensor& mask) const {
    x = x + self_attn_.forward(layer_norm1_.forward(x), mask);
    return x + mlp_.forward(layer_norm2_.forward(x));
  }

 private:
  class SelfAttention : public Module {
   public:
    SelfAttention(int64_t features, int64_t heads, AttentionBackend backend)
        : k_proj_(features, features),
          v_proj_(features, features),
          q_proj_(features, features),
          out_proj_(features, features),
          heads_(heads),
          backend_(backend) {
      add_child("k_proj", k_proj_);
      add_child("v_proj", v_proj_);
      add_child("q_proj", q_proj_);
      add_child("out_proj", out_proj_);
    }

    at::Tensor forward(const at::Tensor& x, const at::Tensor& mask) const {
      const at::Tensor q = q_proj_.forward(x), k = k_proj_.forward(x), v = v_proj_.forward(x);
      return out_proj_.forward(mask.defined() ? masked_multi_head_attention(q, k, v, heads_, mask)
                                              : multi_head_attention(q, k, v, heads_, true, backend_));
    }

   private:
    Linear k_proj_, v_proj_, q_proj_, out_proj_;
    int64_t heads_;
    AttentionBackend backend_;
  };

  class Perceptron : public Module {
   public:
    explicit Perceptron(const CLIPTextConfig& config)
        : fc1_(config.hidden_size, config.intermediate_size),
          fc2_(config.intermediate_size, config.hidden_size),
          act_(activation(config.hidden_act)) {
      add_child("fc1", fc1_);
      add_child("fc2", fc2_);
    }

    at::Tensor forward(const at::Tensor& x) const { return fc2_.forward(act_(fc1_.forward(x))); }

   private:
    Linear fc1_, fc2_;
    Activation act_;
  };

  SelfAttention self_attn_;
  LayerNorm layer_norm1_;
  Perceptron mlp_;
  LayerNorm layer_norm2_;
};

struct CLIPTextOutput {
  at::Tensor last_hidden_state;  ///< [B,T,hidden_size], behind the final layer norm
  at::Tensor pooled;             ///< [B,hidden_size], the last hidden state at the end-of-text token
  at::Tensor text_embeds;  ///< [B,projection_dim], the pooled state projected; undefined without projection
  std::vector<at::Tensor>
      hidden_states;  ///< on request: the embeddings, then each layer's output, not normalised
};

/// CLIP's text transformer (Radford et al. 2021), with its projection to the space shared with pictures if
/// the configuration has one.
class CLIPTextModel : public Model {
 public:
  CLIPTextModel(const CLIPTextConfig& config, AttentionBackend attention);

  /// Token ids lie in 0..vocabulary()-1.
  int64_t vocabulary() const { return config_.vocab_size; }

  std::string canonical_name(const std::string& name) const override;

  /// input_ids: int64 [B,T], T ≤ max_position_embeddings. Attention is causal.
  /// @param attention_mask [B,T], 0 for tokens that no other one attends to; undefined for none of them, as
  ///   Stable Diffusion encodes prompts with their padding
  /// @param skipped_layers the last layers left out; the final layer norm stays
  CLIPTextOutput forward(const at::Tensor& input_ids, bool hidden_states,
                         const at::Tensor& attention_mask = {}, int64_t skipped_layers = 0) const;

 private:
  struct Embeddings : public Module {
    Embeddings(int64_t vocabulary, int64_t positions, int64_t features);
    Embedding token_embedding, position_embedding;
  };
  struct Encoder : public Module {
    Encoder() { add_child("layers", layers); }
    ModuleList<CLIPEncoderLayer> layers;
  };

  CLIPTextConfig config_;
  Embeddings embeddings_;
  Encoder encoder_;
  LayerNorm final_layer_norm_;
  std::unique_ptr<Linear> text_projection_;
};

}  // namespace ip2p

#pragma once

#include <string>

#include "core/config_value.h"
#include "core/error.h"
#include "nn/attention.h"

namespace ip2p {

/// What shapes the transformer of a CLIP tower (Radford et al. 2021, https://arxiv.org/abs/2103.00020).
struct CLIPEncoderOptions {
  /// @param causal each token looks at itself and those before it: in texts
  CLIPEncoderOptions(const ConfigValue& config, bool causal, AttentionBackend attention)
      : hidden_size(config.integer("hidden_size")),
        intermediate_size(config.integer("intermediate_size")),
        num_hidden_layers(config.integer("num_hidden_layers")),
        num_attention_heads(config.integer("num_attention_heads")),
        hidden_act(config.string("hidden_act")),
        layer_norm_eps(config.number("layer_norm_eps")),
        causal(causal),
        attention(attention) {
    if (num_attention_heads <= 0 || hidden_size % num_attention_heads != 0)
      throw Error("ERR_CONFIG", "hidden_size " + std::to_string(hidden_size) + " cannot be split over " +
                                    std::to_string(num_attention_heads) + " attention heads");
  }

  int64_t hidden_size;
  int64_t intermediate_size;
  int64_t num_hidden_layers;
  int64_t num_attention_heads;
  std::string hidden_act;
  double layer_norm_eps;
  bool causal;
  AttentionBackend attention;
};

/// Pre-norm transformer layer: self-attention and a two-layer perceptron, each with its residual.
class CLIPEncoderLayer : public Module {
 public:
  explicit CLIPEncoderLayer(const CLIPEncoderOptions& config)
      : self_attn_(config),
        layer_norm1_(config.hidden_size, config.layer_norm_eps),
        mlp_(config),
        layer_norm2_(config.hidden_size, config.layer_norm_eps) {
    add_child("self_attn", self_attn_);
    add_child("layer_norm1", layer_norm1_);
    add_child("mlp", mlp_);
    add_child("layer_norm2", layer_norm2_);
  }

  /// mask: additive [B,1,T,T], or undefined for causal attention alone, or to all tokens
  at::Tensor forward(at::Tensor x, const at::Tensor& mask) const {
    x = x + self_attn_.forward(layer_norm1_.forward(x), mask);
    return x + mlp_.forward(layer_norm2_.forward(x));
  }

 private:
  class SelfAttention : public Module {
   public:
    explicit SelfAttention(const CLIPEncoderOptions& config)
        : k_proj_(config.hidden_size, config.hidden_size),
          v_proj_(config.hidden_size, config.hidden_size),
          q_proj_(config.hidden_size, config.hidden_size),
          out_proj_(config.hidden_size, config.hidden_size),
          heads_(config.num_attention_heads),
          causal_(config.causal),
          backend_(config.attention) {
      add_child("k_proj", k_proj_);
      add_child("v_proj", v_proj_);
      add_child("q_proj", q_proj_);
      add_child("out_proj", out_proj_);
    }

    at::Tensor forward(const at::Tensor& x, const at::Tensor& mask) const {
      const at::Tensor q = q_proj_.forward(x), k = k_proj_.forward(x), v = v_proj_.forward(x);
      return out_proj_.forward(mask.defined() ? masked_multi_head_attention(q, k, v, heads_, mask)
                                              : multi_head_attention(q, k, v, heads_, causal_, backend_));
    }

   private:
    Linear k_proj_, v_proj_, q_proj_, out_proj_;
    int64_t heads_;
    bool causal_;
    AttentionBackend backend_;
  };

  class Perceptron : public Module {
   public:
    explicit Perceptron(const CLIPEncoderOptions& config)
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

/// The layers of a tower ("layers.0", "layers.1", ...).
struct CLIPEncoder : public Module {
  explicit CLIPEncoder(const CLIPEncoderOptions& config) {
    for (int64_t i = 0; i < config.num_hidden_layers; ++i) layers.emplace(config);
    add_child("layers", layers);
  }
  ModuleList<CLIPEncoderLayer> layers;
};

}  // namespace ip2p

#pragma once

#include "nn/attention.h"

namespace ip2p {

struct TransformerOptions {
  int64_t heads;
  int64_t layers;
  int64_t context_dim;         ///< width of the text embeddings
  int64_t groups;              ///< of the group norm in front
  bool use_linear_projection;  ///< 1×1 convolutions otherwise (Stable Diffusion 1.x)
  bool only_cross_attention;   ///< both attentions look at the text
  AttentionBackend attention;
};

/// Layer norm, self-attention, layer norm, cross-attention, layer norm, GEGLU feed-forward, each with its
/// residual. x: [B,T,C], context: [B,Tc,context_dim]
class BasicTransformerBlock : public Module {
 public:
  BasicTransformerBlock(int64_t channels, const TransformerOptions& options);
  at::Tensor forward(at::Tensor x, const TextCondition& text) const;
  void quantize() override;

 private:
  LayerNorm norm1_, norm2_, norm3_;
  Attention attn1_, attn2_;
  bool only_cross_attention_;

  /// "ff.net.0.proj" (twice as wide, for the gate) and "ff.net.2"; "ff.net.1" is dropout and holds nothing.
  class FeedForward : public Module {
   public:
    explicit FeedForward(int64_t channels);
    at::Tensor forward(const at::Tensor& x, const at::Tensor& residual) const;

   private:
    struct Gate : public Module {
      Gate(int64_t in, int64_t out) : proj(in, 2 * out) { add_child("proj", proj); }
      Linear proj;
    };
    struct Net : public Module {
      explicit Net(int64_t channels);
      Gate gate;
      Linear out;
    };
    Net net_;
  };
  FeedForward ff_;
};

/// Transformer blocks over the pixels of a feature map. x: [B,C,H,W], context: [B,Tc,context_dim] → [B,C,H,W]
class Transformer2DModel : public Module {
 public:
  Transformer2DModel(int64_t channels, const TransformerOptions& options);
  at::Tensor forward(const at::Tensor& x, const TextCondition& text) const;

 private:
  int64_t inner_channels_;
  GroupNorm norm_;
  std::unique_ptr<Linear> linear_in_, linear_out_;
  std::unique_ptr<Conv2d> conv_in_, conv_out_;
  ModuleList<BasicTransformerBlock> blocks_;
};

}  // namespace ip2p

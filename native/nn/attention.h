#pragma once

#include "kernels/ops.h"
#include "nn/conditions.h"
#include "nn/layers.h"
#include "nn/spatial_norm.h"

namespace ip2p {

struct AttentionOptions {
  int64_t query_dim;
  int64_t context_dim;
  int64_t heads;
  AttentionBackend backend;
  int64_t inner_dim = 0;      ///< of all heads together; 0: query_dim
  bool bias = false;          ///< of the projections of queries, keys and values
  bool norm_context = false;  ///< a layer norm ("norm_cross") in front of keys and values
};

/// Multi-head attention of the UNet's transformers: x: [B,T,query_dim], context: [B,Tc,context_dim] (x itself
/// for self-attention), residual: [B,T,query_dim], is added → [B,T,query_dim]. Vaswani et al. 2017.
class Attention : public Module {
 public:
  explicit Attention(const AttentionOptions& options);
  /// @param cache of keys and values; null: computed anew
  at::Tensor forward(const at::Tensor& x, const at::Tensor& context, const at::Tensor& residual,
                     UNetCache* cache = nullptr) const;
  /// Like quantize(), but leaves out the key and value projections: for text they are computed once for many
  /// passes.
  void quantize_queries();

 private:
  std::unique_ptr<LayerNorm> norm_cross_;
  Linear to_q_, to_k_, to_v_;
  ModuleList<Module> to_out_;
  Linear* out_;
  int64_t heads_;
  AttentionBackend backend_;
};

/// Self-attention over the pixels of a feature map, with its norm and residual: in autoencoders.
/// x: [B,C,H,W] → [B,C,H,W]
class SpatialAttention : public Module {
 public:
  SpatialAttention(int64_t channels, int64_t head_dim, int64_t groups, double eps, AttentionBackend backend);
  /// With a norm that is conditioned on latents.
  SpatialAttention(int64_t channels, int64_t head_dim, int64_t latent_channels, AttentionBackend backend);
  /// latents: [B,Z,h,w], of the conditioned norm; undefined otherwise
  at::Tensor forward(const at::Tensor& x, const at::Tensor& latents = {}) const;

 private:
  SpatialAttention(int64_t channels, int64_t head_dim, AttentionBackend backend);
  void add_projections(int64_t channels);

  std::unique_ptr<GroupNorm> group_norm_;
  std::unique_ptr<SpatialNorm> spatial_norm_;
  Linear to_q_, to_k_, to_v_;
  ModuleList<Module> to_out_;
  Linear* out_;
  int64_t heads_;
  AttentionBackend backend_;
};

/// Splits heads, attends, joins heads. q: [B,Tq,H·D], k, v: [B,Tk,H·D] → [B,Tq,H·D]
at::Tensor multi_head_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, int64_t heads,
                                bool causal, AttentionBackend backend);

/// The same with a mask that is added to the scores, [B,1,Tq,Tk]. For texts: it materialises the scores.
at::Tensor masked_multi_head_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                       int64_t heads, const at::Tensor& mask);

}  // namespace ip2p

#pragma once

#include "nn/attention.h"

namespace ip2p {

struct AddedKVAttentionOptions {
  int64_t head_dim;
  int64_t context_dim;  ///< width of the condition's tokens
  int64_t groups;
  bool only_cross_attention;  ///< pixels look at the condition only
  AttentionBackend attention;
};

/// Attention of a feature map's pixels over the tokens of a condition, projected to keys and values of their
/// own, and over each other, with its group norm and residual: the attention of Kandinsky 2.2 (Razzhigaev et
/// al. 2023) and of the decoder of DALL·E 2 (Ramesh et al. 2022). x: [B,C,H,W] → [B,C,H,W]
class AddedKVAttention : public Module {
 public:
  AddedKVAttention(int64_t channels, const AddedKVAttentionOptions& options);
  at::Tensor forward(const at::Tensor& x, const TextCondition& text) const;
  /// Leaves out the projections of the condition, which are computed once for many passes.
  void quantize() override;

 private:
  GroupNorm group_norm_;
  Linear to_q_;
  std::unique_ptr<Linear> to_k_, to_v_;
  Linear add_k_proj_, add_v_proj_;
  ModuleList<Module> to_out_;
  Linear* out_;
  int64_t heads_;
  AttentionBackend backend_;
};

}  // namespace ip2p

#pragma once

#include <memory>

#include "nn/ada_group_norm.h"
#include "nn/attention.h"

namespace ip2p {

struct KAttentionOptions {
  int64_t embedding_dim;
  int64_t context_dim;  ///< width of the text embeddings
  int64_t head_dim;     ///< channels of a head
  bool self_attention;  ///< in front of the attention to the text
  AttentionBackend attention;
};

/// Self-attention, where there is one, and cross-attention over the pixels of a feature map, each behind an
/// adaptive group norm and with its residual; no feed-forward. x: [B,C,H,W] → [B,C,H,W]
class KAttentionBlock : public Module {
 public:
  KAttentionBlock(int64_t channels, const KAttentionOptions& options);
  at::Tensor forward(const at::Tensor& x, const TimeCondition& time, const TextCondition& text) const;
  void quantize() override;

 private:
  std::unique_ptr<AdaGroupNorm> norm1_;
  std::unique_ptr<Attention> attn1_;
  AdaGroupNorm norm2_;
  Attention attn2_;
};

}  // namespace ip2p

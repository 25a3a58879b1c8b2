#pragma once

#include "nn/layers.h"

namespace ip2p {

/// An image embedding as tokens that cross-attention can look at. [B,E] → [B,tokens,D]
class ImageProjection : public Module {
 public:
  ImageProjection(int64_t embedding_dim, int64_t context_dim);
  at::Tensor forward(const at::Tensor& embeddings) const;

 private:
  Linear image_embeds_;
  LayerNorm norm_;
};

/// An image embedding as what is added to the timestep's. [B,E] → [B,D]
class ImageTimeEmbedding : public Module {
 public:
  ImageTimeEmbedding(int64_t embedding_dim, int64_t time_dim);
  at::Tensor forward(const at::Tensor& embeddings) const;

 private:
  Linear image_proj_;
  LayerNorm image_norm_;
};

}  // namespace ip2p

#pragma once

#include "models/autoencoder_parts.h"
#include "models/model.h"

namespace ip2p {

/// The keys of a VQModel's config.json that shape it.
struct VQModelConfig : AutoencoderConfig {
  explicit VQModelConfig(const ConfigValue& config);

  int64_t num_vq_embeddings;
  int64_t vq_embed_dim;
  bool spatial_norm;
};

/// An autoencoder whose latents are entries of a codebook (van den Oord et al. 2017,
/// https://arxiv.org/abs/1711.00937); with spatial norms in its decoder that of Kandinsky 2.2 (MoVQ, Zheng et
/// al. 2022, https://arxiv.org/abs/2209.09002).
class VQModel : public Model {
 public:
  VQModel(const VQModelConfig& config, AttentionBackend attention);

  /// x: [B,in_channels,H,W] in -1..1 → [B,vq_embed_dim,h,w], not quantized.
  at::Tensor encode(const at::Tensor& x) const;
  /// The nearest entry of the codebook at every place. z: [B,vq_embed_dim,h,w]
  at::Tensor quantize_latents(const at::Tensor& z) const;
  /// z: [B,vq_embed_dim,h,w] → [B,out_channels,H,W], about -1..1.
  at::Tensor decode(const at::Tensor& z, bool quantize) const;

 private:
  struct Codebook : public Module {
    Codebook(int64_t count, int64_t dim) : embedding(count, dim), entries(count) {
      add_child("embedding", embedding);
    }
    Embedding embedding;
    int64_t entries;
  };

  AutoencoderEncoder encoder_;
  AutoencoderDecoder decoder_;
  Conv2d quant_conv_, post_quant_conv_;
  Codebook quantize_;
  bool spatial_norm_;
};

}  // namespace ip2p

#include "models/vq_model.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/cdist.h>

namespace ip2p {

VQModelConfig::VQModelConfig(const ConfigValue& config)
    : AutoencoderConfig(config),
      num_vq_embeddings(config.integer("num_vq_embeddings")),
      vq_embed_dim(config.integer("vq_embed_dim")),
      spatial_norm(config.string("norm_type") == "spatial") {}

VQModel::VQModel(const VQModelConfig& config, AttentionBackend attention)
    : encoder_(config, config.latent_channels, attention),
      decoder_(config, config.spatial_norm, attention),
      quant_conv_(config.latent_channels, config.vq_embed_dim, 1),
      post_quant_conv_(config.vq_embed_dim, config.latent_channels, 1),
      quantize_(config.num_vq_embeddings, config.vq_embed_dim),
      spatial_norm_(config.spatial_norm) {
  add_child("encoder", encoder_);
  add_child("quant_conv", quant_conv_);
  add_child("quantize", quantize_);
  add_child("post_quant_conv", post_quant_conv_);
  add_child("decoder", decoder_);
}

at::Tensor VQModel::encode(const at::Tensor& x) const {
  return quant_conv_.forward(encoder_.forward(x));
}

at::Tensor VQModel::quantize_latents(const at::Tensor& z) const {
  const at::Tensor places = z.permute({0, 2, 3, 1}).contiguous();
  const auto all = at::arange(quantize_.entries, at::TensorOptions().dtype(at::kLong).device(z.device()));
  const at::Tensor codebook = quantize_.embedding.forward(all);
  // The distances are compared in float32: cdist has no kernel for half precision.
  const at::Tensor distances =
      at::cdist(places.view({-1, z.size(1)}).to(at::kFloat), codebook.to(at::kFloat));
  const at::Tensor entries = quantize_.embedding.forward(distances.argmin(1)).view(places.sizes());
  // As the reference adds the difference, for the last bits.
  return (places + (entries - places)).permute({0, 3, 1, 2}).contiguous();
}

at::Tensor VQModel::decode(const at::Tensor& z, bool quantize) const {
  const at::Tensor latents = quantize ? quantize_latents(z) : z;
  return decoder_.forward(post_quant_conv_.forward(latents), spatial_norm_ ? latents : at::Tensor());
}

}  // namespace ip2p

#pragma once

#include <optional>
#include <string>

#include "models/autoencoder_parts.h"
#include "models/model.h"

namespace ip2p {

struct AutoencoderKLConfig : AutoencoderConfig {
  explicit AutoencoderKLConfig(const ConfigValue& config);

  bool use_quant_conv;
  bool use_post_quant_conv;
};

/// How a large image is cut so that memory stays bounded. Tiles overlap and are blended linearly.
struct TilingOptions {
  int64_t sample_min_size;  ///< tile edge in pixels; larger images are cut
  int64_t latent_min_size;  ///< the same in latents
  double overlap = 0.25;    ///< share of a tile that overlaps its neighbour
};

/// The variational autoencoder of latent diffusion (Kingma & Welling 2014; Rombach et al. 2022).
class AutoencoderKL : public Model {
 public:
  AutoencoderKL(const AutoencoderKLConfig& config, AttentionBackend attention);

  std::string canonical_name(const std::string& name) const override;

  /// x: [B,in_channels,H,W] in -1..1 → moments [B,2·latent_channels,h,w]: mean and log variance, not clamped.
  at::Tensor encode(const at::Tensor& x, bool slicing, const std::optional<TilingOptions>& tiling) const;
  /// z: [B,latent_channels,h,w], already divided by the scaling factor → [B,out_channels,H,W], about -1..1.
  at::Tensor decode(const at::Tensor& z, bool slicing, const std::optional<TilingOptions>& tiling) const;

 private:
  at::Tensor encode_plain(const at::Tensor& x) const;
  at::Tensor decode_plain(const at::Tensor& z) const;

  AutoencoderEncoder encoder_;
  AutoencoderDecoder decoder_;
  std::unique_ptr<Conv2d> quant_conv_, post_quant_conv_;
};

}  // namespace ip2p

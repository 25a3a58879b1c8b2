#pragma once

#include <optional>
#include <string>
#include <vector>

#include "models/model.h"
#include "nn/attention.h"
#include "nn/resnet.h"
#include "nn/sampling.h"

namespace ip2p {

/// The keys of an autoencoder's config.json that shape this model (lib/models/autoencoder_kl.ts fills in
/// defaults).
struct AutoencoderKLConfig {
  explicit AutoencoderKLConfig(const ConfigValue& config);

  int64_t in_channels;
  int64_t out_channels;
  int64_t latent_channels;
  std::vector<int64_t> block_out_channels;  ///< highest resolution first
  int64_t layers_per_block;
  std::string act_fn;
  int64_t norm_num_groups;
  bool mid_block_add_attention;
  bool use_quant_conv;
  bool use_post_quant_conv;
};

/// Resnets at one resolution and, unless it is the last, a resampler ("downsamplers.0" or "upsamplers.0").
template <class Resampler>
class AutoencoderLevel : public Module {
 public:
  AutoencoderLevel(int64_t in_channels, int64_t out_channels, int64_t layers, bool resample,
                   const ResnetOptions& resnet);
  at::Tensor forward(at::Tensor x) const;

 private:
  ModuleList<ResnetBlock2D> resnets_;
  ModuleList<Resampler> resamplers_;
};

/// Resnet, self-attention (where the configuration asks for it), resnet: the middle of encoder and decoder.
class AutoencoderMidBlock : public Module {
 public:
  AutoencoderMidBlock(int64_t channels, const ResnetOptions& resnet, bool add_attention,
                      AttentionBackend attention);
  at::Tensor forward(at::Tensor x) const;
  bool attends() const { return !attentions_.empty(); }

 private:
  ModuleList<ResnetBlock2D> resnets_;
  ModuleList<SpatialAttention> attentions_;
};

class AutoencoderEncoder : public Module {
 public:
  AutoencoderEncoder(const AutoencoderKLConfig& config, AttentionBackend attention);
  at::Tensor forward(at::Tensor x) const;

 private:
  Conv2d conv_in_;
  ModuleList<AutoencoderLevel<Downsample2D>> down_blocks_;
  AutoencoderMidBlock mid_block_;
  GroupNorm conv_norm_out_;
  Conv2d conv_out_;
};

class AutoencoderDecoder : public Module {
 public:
  AutoencoderDecoder(const AutoencoderKLConfig& config, AttentionBackend attention);
  at::Tensor forward(at::Tensor z) const;

 private:
  Conv2d conv_in_;
  AutoencoderMidBlock mid_block_;
  ModuleList<AutoencoderLevel<Upsample2D>> up_blocks_;
  GroupNorm conv_norm_out_;
  Conv2d conv_out_;
};

/// How a large picture is cut so that memory stays bounded. Tiles overlap and are blended linearly.
struct TilingOptions {
  int64_t sample_min_size;  ///< tile edge in pixels; larger pictures are cut
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

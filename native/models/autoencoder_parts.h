#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/config_value.h"
#include "nn/attention.h"
#include "nn/resnet.h"
#include "nn/sampling.h"

namespace ip2p {

/// The keys of an autoencoder's config.json that shape its encoder and decoder (lib/models/ fills in
/// defaults).
struct AutoencoderConfig {
  explicit AutoencoderConfig(const ConfigValue& config);

  int64_t in_channels;
  int64_t out_channels;
  int64_t latent_channels;
  std::vector<std::string> down_block_types;
  std::vector<std::string> up_block_types;
  std::vector<int64_t> block_out_channels;  ///< highest resolution first
  int64_t layers_per_block;
  std::string act_fn;
  int64_t norm_num_groups;
  bool mid_block_add_attention;
};

/// A resnet of an autoencoder. In a decoder with spatial norms it is conditioned on the latents, [B,Z,h,w];
/// elsewhere they are undefined.
class AutoencoderResnet : public Module {
 public:
  virtual at::Tensor forward(const at::Tensor& x, const at::Tensor& latents) const = 0;
};

/// What the layers of an encoder or a decoder have in common.
struct AutoencoderLayers {
  ResnetOptions resnet;
  AttentionBackend attention;
  int64_t latent_channels = 0;  ///< of spatial norms; 0: group norms

  std::unique_ptr<AutoencoderResnet> make_resnet(int64_t in_channels, int64_t out_channels) const;
  /// With one head as wide as the map.
  std::unique_ptr<SpatialAttention> make_attention(int64_t channels) const;
};

/// Resnets at one resolution, with an attention behind each where `attends`, and, unless it is the last, a
/// resampler
/// ("downsamplers.0" or "upsamplers.0").
template <class Resampler>
class AutoencoderLevel : public Module {
 public:
  AutoencoderLevel(int64_t in_channels, int64_t out_channels, int64_t layers, bool attends, bool resample,
                   const AutoencoderLayers& shared);
  at::Tensor forward(at::Tensor x, const at::Tensor& latents) const;

 private:
  ModuleList<AutoencoderResnet> resnets_;
  ModuleList<SpatialAttention> attentions_;
  ModuleList<Resampler> resamplers_;
};

/// Resnet, self-attention (where the configuration asks for it), resnet: the middle of encoder and decoder.
class AutoencoderMidBlock : public Module {
 public:
  AutoencoderMidBlock(int64_t channels, bool add_attention, const AutoencoderLayers& shared);
  at::Tensor forward(at::Tensor x, const at::Tensor& latents) const;
  bool attends() const { return !attentions_.empty(); }

 private:
  ModuleList<AutoencoderResnet> resnets_;
  ModuleList<SpatialAttention> attentions_;
};

class AutoencoderEncoder : public Module {
 public:
  /// @param out_channels latent channels, or twice as many for mean and log variance
  AutoencoderEncoder(const AutoencoderConfig& config, int64_t out_channels, AttentionBackend attention);
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
  /// @param spatial norms that are conditioned on the latents instead of group norms
  AutoencoderDecoder(const AutoencoderConfig& config, bool spatial, AttentionBackend attention);
  /// latents: of the norms; undefined for group norms
  at::Tensor forward(at::Tensor z, const at::Tensor& latents = {}) const;

 private:
  Conv2d conv_in_;
  AutoencoderMidBlock mid_block_;
  ModuleList<AutoencoderLevel<Upsample2D>> up_blocks_;
  std::unique_ptr<GroupNorm> group_norm_out_;
  std::unique_ptr<SpatialNorm> spatial_norm_out_;
  Conv2d conv_out_;
};

}  // namespace ip2p

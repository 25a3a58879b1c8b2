#include "models/autoencoder_parts.h"

#include <ATen/ops/silu.h>

#include <algorithm>

#include "core/cancel.h"
#include "core/error.h"
#include "core/utf8.h"

namespace ip2p {
namespace {

constexpr double kNormEps = 1e-6;  // fixed in every autoencoder of the family

/// Whether a block type has attention behind its resnets.
bool attends(const std::string& type, const char* plain, const char* attending, const char* key) {
  if (type == plain) return false;
  if (type == attending) return true;
  throw Error("ERR_CONFIG", in_quotes(key) + " holds " + in_quotes(type) + ", expected " + in_quotes(plain) +
                                " or " + in_quotes(attending));
}

AutoencoderLayers layers_of(const AutoencoderConfig& config, bool spatial, AttentionBackend attention) {
  return {{config.norm_num_groups, kNormEps, config.act_fn, std::nullopt},
          attention,
          spatial ? config.latent_channels : 0};
}

class PlainResnet : public AutoencoderResnet {
 public:
  PlainResnet(int64_t in_channels, int64_t out_channels, const ResnetOptions& options)
      : resnet_(in_channels, out_channels, options) {
    add_children_of(resnet_, {"norm1", "conv1", "norm2", "conv2", "conv_shortcut"});
  }
  at::Tensor forward(const at::Tensor& x, const at::Tensor&) const override { return resnet_.forward(x, {}); }

 private:
  ResnetBlock2D resnet_;
};

class SpatialNormResnet : public AutoencoderResnet {
 public:
  SpatialNormResnet(int64_t in_channels, int64_t out_channels, int64_t latent_channels,
                    const ResnetOptions& options)
      : norm1_(in_channels, latent_channels),
        norm2_(out_channels, latent_channels),
        conv1_(in_channels, out_channels, 3, 1, 1),
        conv2_(out_channels, out_channels, 3, 1, 1),
        act_(activation(options.act_fn)) {
    add_child("norm1", norm1_);
    add_child("conv1", conv1_);
    add_child("norm2", norm2_);
    add_child("conv2", conv2_);
    if (in_channels != out_channels) {
      conv_shortcut_ = std::make_unique<Conv2d>(in_channels, out_channels, 1);
      add_child("conv_shortcut", *conv_shortcut_);
    }
  }

  at::Tensor forward(const at::Tensor& x, const at::Tensor& latents) const override {
    check_cancelled();
    const at::Tensor h = conv1_.forward(act_(norm1_.forward(x, latents)));
    return conv2_.forward(act_(norm2_.forward(h, latents)), conv_shortcut_ ? conv_shortcut_->forward(x) : x);
  }

 private:
  SpatialNorm norm1_, norm2_;
  Conv2d conv1_, conv2_;
  std::unique_ptr<Conv2d> conv_shortcut_;
  Activation act_;
};

}  // namespace

AutoencoderConfig::AutoencoderConfig(const ConfigValue& config)
    : in_channels(config.integer("in_channels")),
      out_channels(config.integer("out_channels")),
      latent_channels(config.integer("latent_channels")),
      down_block_types(config.strings("down_block_types")),
      up_block_types(config.strings("up_block_types")),
      block_out_channels(config.integers("block_out_channels")),
      layers_per_block(config.integer("layers_per_block")),
      act_fn(config.string("act_fn")),
      norm_num_groups(config.integer("norm_num_groups")),
      mid_block_add_attention(config.boolean("mid_block_add_attention")) {
  if (block_out_channels.empty()) throw Error("ERR_CONFIG", "block_out_channels is empty");
  if (down_block_types.size() != block_out_channels.size() ||
      up_block_types.size() != block_out_channels.size())
    throw Error("ERR_CONFIG", "the lists of an autoencoder's configuration differ in length");
}

std::unique_ptr<AutoencoderResnet> AutoencoderLayers::make_resnet(int64_t in_channels,
                                                                  int64_t out_channels) const {
  if (latent_channels > 0)
    return std::make_unique<SpatialNormResnet>(in_channels, out_channels, latent_channels, resnet);
  return std::make_unique<PlainResnet>(in_channels, out_channels, resnet);
}

std::unique_ptr<SpatialAttention> AutoencoderLayers::make_attention(int64_t channels) const {
  if (latent_channels > 0)
    return std::make_unique<SpatialAttention>(channels, channels, latent_channels, attention);
  return std::make_unique<SpatialAttention>(channels, channels, resnet.groups, kNormEps, attention);
}

template <class Resampler>
AutoencoderLevel<Resampler>::AutoencoderLevel(int64_t in_channels, int64_t out_channels, int64_t layers,
                                              bool attends, bool resample, const AutoencoderLayers& shared) {
  constexpr bool down = std::is_same_v<Resampler, Downsample2D>;
  for (int64_t i = 0; i < layers; ++i) {
    resnets_.append(shared.make_resnet(i == 0 ? in_channels : out_channels, out_channels));
    if (attends) attentions_.append(shared.make_attention(out_channels));
  }
  if (attends) add_child("attentions", attentions_);
  add_child("resnets", resnets_);
  if (!resample) return;
  if constexpr (down)
    resamplers_.emplace(out_channels, 0);
  else
    resamplers_.emplace(out_channels);
  add_child(down ? "downsamplers" : "upsamplers", resamplers_);
}

template <class Resampler>
at::Tensor AutoencoderLevel<Resampler>::forward(at::Tensor x, const at::Tensor& latents) const {
  for (size_t i = 0; i < resnets_.size(); ++i) {
    x = resnets_[i].forward(x, latents);
    if (!attentions_.empty()) x = attentions_[i].forward(x, latents);
  }
  return resamplers_.empty() ? x : resamplers_[0].forward(x);
}

AutoencoderMidBlock::AutoencoderMidBlock(int64_t channels, bool add_attention,
                                         const AutoencoderLayers& shared) {
  for (int i = 0; i < 2; ++i) resnets_.append(shared.make_resnet(channels, channels));
  if (add_attention) {
    attentions_.append(shared.make_attention(channels));
    add_child("attentions", attentions_);
  }
  add_child("resnets", resnets_);
}

at::Tensor AutoencoderMidBlock::forward(at::Tensor x, const at::Tensor& latents) const {
  x = resnets_[0].forward(x, latents);
  if (!attentions_.empty()) x = attentions_[0].forward(x, latents);
  return resnets_[1].forward(x, latents);
}

AutoencoderEncoder::AutoencoderEncoder(const AutoencoderConfig& config, int64_t out_channels,
                                       AttentionBackend attention)
    : conv_in_(config.in_channels, config.block_out_channels.front(), 3, 1, 1),
      mid_block_(config.block_out_channels.back(), config.mid_block_add_attention,
                 layers_of(config, false, attention)),
      conv_norm_out_(config.norm_num_groups, config.block_out_channels.back(), kNormEps),
      conv_out_(config.block_out_channels.back(), out_channels, 3, 1, 1) {
  const auto& channels = config.block_out_channels;
  for (size_t i = 0; i < channels.size(); ++i)
    down_blocks_.emplace(channels[i == 0 ? 0 : i - 1], channels[i], config.layers_per_block,
                         attends(config.down_block_types[i], "DownEncoderBlock2D", "AttnDownEncoderBlock2D",
                                 "down_block_types"),
                         i + 1 < channels.size(), layers_of(config, false, attention));
  add_child("conv_in", conv_in_);
  add_child("down_blocks", down_blocks_);
  add_child("mid_block", mid_block_);
  add_child("conv_norm_out", conv_norm_out_);
  add_child("conv_out", conv_out_);
}

at::Tensor AutoencoderEncoder::forward(at::Tensor x) const {
  x = conv_in_.forward(x);
  for (size_t i = 0; i < down_blocks_.size(); ++i) x = down_blocks_[i].forward(x, {});
  // The layout that libtorch's operators produce: the attention's output is channels-last, unless there is
  // only one channel.
  const bool channels_last = mid_block_.attends() && x.size(0) > 1;
  const auto layout = channels_last ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous;
  // act_fn does not reach the last activation, which is SiLU in every configuration.
  return conv_out_.forward_plain(conv_norm_out_.forward_silu(mid_block_.forward(x, {})), layout);
}

AutoencoderDecoder::AutoencoderDecoder(const AutoencoderConfig& config, bool spatial,
                                       AttentionBackend attention)
    : conv_in_(config.latent_channels, config.block_out_channels.back(), 3, 1, 1),
      mid_block_(config.block_out_channels.back(), config.mid_block_add_attention,
                 layers_of(config, spatial, attention)),
      conv_out_(config.block_out_channels.front(), config.out_channels, 3, 1, 1) {
  const auto& channels = config.block_out_channels;
  const size_t levels = channels.size();
  for (size_t i = 0; i < levels; ++i) {
    const size_t level = levels - 1 - i;
    up_blocks_.emplace(
        channels[std::min(level + 1, levels - 1)], channels[level], config.layers_per_block + 1,
        attends(config.up_block_types[i], "UpDecoderBlock2D", "AttnUpDecoderBlock2D", "up_block_types"),
        i + 1 < levels, layers_of(config, spatial, attention));
  }
  add_child("conv_in", conv_in_);
  add_child("mid_block", mid_block_);
  add_child("up_blocks", up_blocks_);
  if (spatial) {
    spatial_norm_out_ = std::make_unique<SpatialNorm>(channels.front(), config.latent_channels);
    add_child("conv_norm_out", *spatial_norm_out_);
  } else {
    group_norm_out_ = std::make_unique<GroupNorm>(config.norm_num_groups, channels.front(), kNormEps);
    add_child("conv_norm_out", *group_norm_out_);
  }
  add_child("conv_out", conv_out_);
}

at::Tensor AutoencoderDecoder::forward(at::Tensor z, const at::Tensor& latents) const {
  z = mid_block_.forward(conv_in_.forward(z), latents);
  for (size_t i = 0; i < up_blocks_.size(); ++i) z = up_blocks_[i].forward(z, latents);
  return conv_out_.forward(group_norm_out_ ? group_norm_out_->forward_silu(z)
                                           : at::silu(spatial_norm_out_->forward(z, latents)));
}

}  // namespace ip2p

#include "models/autoencoder_kl.h"

#include <ATen/ops/cat.h>

#include <algorithm>
#include <functional>

#include "core/cancel.h"
#include "core/error.h"

namespace ip2p {
namespace {

constexpr double kNormEps = 1e-6;  // fixed in every autoencoder of the family

ResnetOptions resnet_options(const AutoencoderKLConfig& config) {
  return {config.norm_num_groups, kNormEps, config.act_fn, std::nullopt};
}

}  // namespace

AutoencoderKLConfig::AutoencoderKLConfig(const ConfigValue& config)
    : in_channels(config.integer("in_channels")),
      out_channels(config.integer("out_channels")),
      latent_channels(config.integer("latent_channels")),
      block_out_channels(config.integers("block_out_channels")),
      layers_per_block(config.integer("layers_per_block")),
      act_fn(config.string("act_fn")),
      norm_num_groups(config.integer("norm_num_groups")),
      mid_block_add_attention(config.boolean("mid_block_add_attention")),
      use_quant_conv(config.boolean("use_quant_conv")),
      use_post_quant_conv(config.boolean("use_post_quant_conv")) {
  if (block_out_channels.empty()) throw Error("ERR_CONFIG", "block_out_channels is empty");
}

template <>
AutoencoderLevel<Downsample2D>::AutoencoderLevel(int64_t in_channels, int64_t out_channels, int64_t layers,
                                                 bool resample, const ResnetOptions& resnet) {
  for (int64_t i = 0; i < layers; ++i)
    resnets_.emplace(i == 0 ? in_channels : out_channels, out_channels, resnet);
  add_child("resnets", resnets_);
  if (resample) {
    resamplers_.emplace(out_channels, 0);
    add_child("downsamplers", resamplers_);
  }
}

template <>
AutoencoderLevel<Upsample2D>::AutoencoderLevel(int64_t in_channels, int64_t out_channels, int64_t layers,
                                               bool resample, const ResnetOptions& resnet) {
  for (int64_t i = 0; i < layers; ++i)
    resnets_.emplace(i == 0 ? in_channels : out_channels, out_channels, resnet);
  add_child("resnets", resnets_);
  if (resample) {
    resamplers_.emplace(out_channels);
    add_child("upsamplers", resamplers_);
  }
}

template <class Resampler>
at::Tensor AutoencoderLevel<Resampler>::forward(at::Tensor x) const {
  for (size_t i = 0; i < resnets_.size(); ++i) x = resnets_[i].forward(x, {});
  return resamplers_.empty() ? x : resamplers_[0].forward(x);
}

AutoencoderMidBlock::AutoencoderMidBlock(int64_t channels, const ResnetOptions& resnet, bool add_attention,
                                         AttentionBackend attention) {
  resnets_.emplace(channels, channels, resnet);
  resnets_.emplace(channels, channels, resnet);
  if (add_attention) {
    // One head as wide as the block.
    attentions_.emplace(channels, channels, resnet.groups, kNormEps, attention);
    add_child("attentions", attentions_);
  }
  add_child("resnets", resnets_);
}

at::Tensor AutoencoderMidBlock::forward(at::Tensor x) const {
  x = resnets_[0].forward(x, {});
  if (!attentions_.empty()) x = attentions_[0].forward(x);
  return resnets_[1].forward(x, {});
}

AutoencoderEncoder::AutoencoderEncoder(const AutoencoderKLConfig& config, AttentionBackend attention)
    : conv_in_(config.in_channels, config.block_out_channels.front(), 3, 1, 1),
      mid_block_(config.block_out_channels.back(), resnet_options(config), config.mid_block_add_attention,
                 attention),
      conv_norm_out_(config.norm_num_groups, config.block_out_channels.back(), kNormEps),
      conv_out_(config.block_out_channels.back(), 2 * config.latent_channels, 3, 1, 1) {
  const auto& channels = config.block_out_channels;
  for (size_t i = 0; i < channels.size(); ++i)
    down_blocks_.emplace(channels[i == 0 ? 0 : i - 1], channels[i], config.layers_per_block,
                         i + 1 < channels.size(), resnet_options(config));
  add_child("conv_in", conv_in_);
  add_child("down_blocks", down_blocks_);
  add_child("mid_block", mid_block_);
  add_child("conv_norm_out", conv_norm_out_);
  add_child("conv_out", conv_out_);
}

at::Tensor AutoencoderEncoder::forward(at::Tensor x) const {
  x = conv_in_.forward(x);
  for (size_t i = 0; i < down_blocks_.size(); ++i) x = down_blocks_[i].forward(x);
  // The layout that libtorch's operators produce: the attention's output is channels-last, unless there is
  // only one channel.
  const bool channels_last = mid_block_.attends() && x.size(0) > 1;
  const auto layout = channels_last ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous;
  // act_fn does not reach the last activation, which is SiLU in every configuration.
  return conv_out_.forward_plain(conv_norm_out_.forward_silu(mid_block_.forward(x)), layout);
}

AutoencoderDecoder::AutoencoderDecoder(const AutoencoderKLConfig& config, AttentionBackend attention)
    : conv_in_(config.latent_channels, config.block_out_channels.back(), 3, 1, 1),
      mid_block_(config.block_out_channels.back(), resnet_options(config), config.mid_block_add_attention,
                 attention),
      conv_norm_out_(config.norm_num_groups, config.block_out_channels.front(), kNormEps),
      conv_out_(config.block_out_channels.front(), config.out_channels, 3, 1, 1) {
  const auto& channels = config.block_out_channels;
  const size_t levels = channels.size();
  for (size_t i = 0; i < levels; ++i) {
    const size_t level = levels - 1 - i;
    up_blocks_.emplace(channels[std::min(level + 1, levels - 1)], channels[level],
                       config.layers_per_block + 1, i + 1 < levels, resnet_options(config));
  }
  add_child("conv_in", conv_in_);
  add_child("mid_block", mid_block_);
  add_child("up_blocks", up_blocks_);
  add_child("conv_norm_out", conv_norm_out_);
  add_child("conv_out", conv_out_);
}

at::Tensor AutoencoderDecoder::forward(at::Tensor z) const {
  z = mid_block_.forward(conv_in_.forward(z));
  for (size_t i = 0; i < up_blocks_.size(); ++i) z = up_blocks_[i].forward(z);
  return conv_out_.forward(conv_norm_out_.forward_silu(z));
}

AutoencoderKL::AutoencoderKL(const AutoencoderKLConfig& config, AttentionBackend attention)
    : encoder_(config, attention), decoder_(config, attention) {
  add_child("encoder", encoder_);
  add_child("decoder", decoder_);
  if (config.use_quant_conv) {
    quant_conv_ = std::make_unique<Conv2d>(2 * config.latent_channels, 2 * config.latent_channels, 1);
    add_child("quant_conv", *quant_conv_);
  }
  if (config.use_post_quant_conv) {
    post_quant_conv_ = std::make_unique<Conv2d>(config.latent_channels, config.latent_channels, 1);
    add_child("post_quant_conv", *post_quant_conv_);
  }
}

// Files written before the attention layers were unified name the projections differently.
std::string AutoencoderKL::canonical_name(const std::string& name) const {
  static constexpr std::pair<const char*, const char*> kOldNames[] = {
      {".query.", ".to_q."}, {".key.", ".to_k."}, {".value.", ".to_v."}, {".proj_attn.", ".to_out.0."}};
  if (name.find(".mid_block.attentions.") == std::string::npos && name.rfind("mid_block.attentions.", 0) != 0)
    return name;
  for (const auto& [before, now] : kOldNames) {
    const size_t at = name.find(before);
    if (at != std::string::npos) return std::string(name).replace(at, std::string(before).size(), now);
  }
  return name;
}

namespace {

using Transform = std::function<at::Tensor(const at::Tensor&)>;

at::Tensor by_rows(const at::Tensor& x, const Transform& one) {
  std::vector<at::Tensor> rows;
  for (int64_t b = 0; b < x.size(0); ++b) {
    check_cancelled();
    rows.push_back(one(x.narrow(0, b, 1)));
  }
  return at::cat(rows, 0);
}

/// Fades the last `extent` lines of `before` into the first ones of `tile`, along `axis`, in place.
void blend(const at::Tensor& before, const at::Tensor& tile, int64_t axis, int64_t extent) {
  extent = std::min({before.size(axis), tile.size(axis), extent});
  for (int64_t i = 0; i < extent; ++i) {
    const double share = static_cast<double>(i) / static_cast<double>(extent);
    const at::Tensor line = tile.select(axis, i);
    line.copy_(before.select(axis, before.size(axis) - extent + i) * (1 - share) + line * share);
  }
}

/// Cuts x into overlapping tiles of `tile` pixels, transforms each, blends and joins. `out_tile` is a tile's
/// edge after the transform.
at::Tensor tiled(const at::Tensor& x, int64_t tile, int64_t out_tile, double overlap, const Transform& one) {
  const auto stride = static_cast<int64_t>(static_cast<double>(tile) * (1 - overlap));
  const auto extent = static_cast<int64_t>(static_cast<double>(out_tile) * overlap);
  const int64_t keep = out_tile - extent;
  const int64_t H = x.size(2), W = x.size(3);
  std::vector<at::Tensor> above, joined_rows;
  for (int64_t top = 0; top < H; top += stride) {
    std::vector<at::Tensor> row, kept;
    for (int64_t left = 0; left < W; left += stride) {
      check_cancelled();
      row.push_back(one(x.slice(2, top, top + tile).slice(3, left, left + tile)));
      // The neighbours above and to the left are already blended.
      if (!above.empty()) blend(above[row.size() - 1], row.back(), 2, extent);
      if (row.size() > 1) blend(row[row.size() - 2], row.back(), 3, extent);
      kept.push_back(row.back().slice(2, 0, keep).slice(3, 0, keep));
    }
    joined_rows.push_back(at::cat(kept, 3));
    above = std::move(row);
  }
  return at::cat(joined_rows, 2);
}

bool larger_than(const at::Tensor& x, int64_t edge) {
  return x.size(2) > edge || x.size(3) > edge;
}

}  // namespace

at::Tensor AutoencoderKL::encode_plain(const at::Tensor& x) const {
  const at::Tensor moments = encoder_.forward(x);
  return quant_conv_ ? quant_conv_->forward_plain(moments, moments.suggest_memory_format()) : moments;
}

at::Tensor AutoencoderKL::decode_plain(const at::Tensor& z) const {
  return decoder_.forward(post_quant_conv_ ? post_quant_conv_->forward(z) : z);
}

at::Tensor AutoencoderKL::encode(const at::Tensor& x, bool slicing,
                                 const std::optional<TilingOptions>& tiling) const {
  if (slicing && x.size(0) > 1)
    return by_rows(x, [&](const at::Tensor& row) { return encode(row, false, tiling); });
  if (tiling && larger_than(x, tiling->sample_min_size))
    return tiled(x, tiling->sample_min_size, tiling->latent_min_size, tiling->overlap,
                 [&](const at::Tensor& tile) { return encode_plain(tile); });
  return encode_plain(x);
}

at::Tensor AutoencoderKL::decode(const at::Tensor& z, bool slicing,
                                 const std::optional<TilingOptions>& tiling) const {
  if (slicing && z.size(0) > 1)
    return by_rows(z, [&](const at::Tensor& row) { return decode(row, false, tiling); });
  if (tiling && larger_than(z, tiling->latent_min_size))
    return tiled(z, tiling->latent_min_size, tiling->sample_min_size, tiling->overlap,
                 [&](const at::Tensor& tile) { return decode_plain(tile); });
  return decode_plain(z);
}

}  // namespace ip2p

#include "models/autoencoder_kl.h"

#include <ATen/ops/cat.h>

#include <algorithm>
#include <functional>

#include "core/cancel.h"

namespace ip2p {

AutoencoderKLConfig::AutoencoderKLConfig(const ConfigValue& config)
    : AutoencoderConfig(config),
      use_quant_conv(config.boolean("use_quant_conv")),
      use_post_quant_conv(config.boolean("use_post_quant_conv")) {}

AutoencoderKL::AutoencoderKL(const AutoencoderKLConfig& config, AttentionBackend attention)
    : encoder_(config, 2 * config.latent_channels, attention), decoder_(config, false, attention) {
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

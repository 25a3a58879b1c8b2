#include "models/unet_2d_condition.h"

#include <ATen/autocast_mode.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

#include "core/cancel.h"
#include "core/error.h"

namespace ip2p {

UNet2DConditionConfig::UNet2DConditionConfig(const ConfigValue& config)
    : in_channels(config.integer("in_channels")),
      out_channels(config.integer("out_channels")),
      center_input_sample(config.boolean("center_input_sample")),
      flip_sin_to_cos(config.boolean("flip_sin_to_cos")),
      freq_shift(config.number("freq_shift")),
      down_block_types(config.strings("down_block_types")),
      mid_block_type(config.null("mid_block_type") ? "" : config.string("mid_block_type")),
      up_block_types(config.strings("up_block_types")),
      only_cross_attention(config.booleans("only_cross_attention")),
      block_out_channels(config.integers("block_out_channels")),
      layers_per_block(config.integers("layers_per_block")),
      downsample_padding(config.integer("downsample_padding")),
      mid_block_scale_factor(config.number("mid_block_scale_factor")),
      act_fn(config.string("act_fn")),
      norm_num_groups(config.integer("norm_num_groups")),
      norm_eps(config.number("norm_eps")),
      cross_attention_dim(config.integers("cross_attention_dim")),
      transformer_layers_per_block(config.integers("transformer_layers_per_block")),
      reverse_transformer_layers_per_block(config.integers("reverse_transformer_layers_per_block")),
      attention_head_dim(config.integers("attention_head_dim")),
      use_linear_projection(config.boolean("use_linear_projection")),
      resnet_time_scale_shift(config.string("resnet_time_scale_shift")),
      time_embedding_dim(config.integer("time_embedding_dim")),
      conv_in_kernel(config.integer("conv_in_kernel")),
      conv_out_kernel(config.integer("conv_out_kernel")),
      extend_input_channels(config.boolean("extend_input_channels")) {
  const size_t levels = block_out_channels.size();
  const bool even = levels > 0 && down_block_types.size() == levels && up_block_types.size() == levels &&
                    only_cross_attention.size() == levels && layers_per_block.size() == levels &&
                    cross_attention_dim.size() == levels && transformer_layers_per_block.size() == levels &&
                    reverse_transformer_layers_per_block.size() == levels &&
                    attention_head_dim.size() == levels;
  if (!even) throw Error("ERR_CONFIG", "the lists of a UNet's configuration differ in length");
}

UNet2DConditionModel::UNet2DConditionModel(const UNet2DConditionConfig& config, AttentionBackend attention)
    : config_(config),
      conv_in_(config.in_channels, config.block_out_channels.front(), config.conv_in_kernel, 1,
               (config.conv_in_kernel - 1) / 2),
      time_embedding_(config.block_out_channels.front(), config.time_embedding_dim, config.act_fn),
      conv_norm_out_(config.norm_num_groups, config.block_out_channels.front(), config.norm_eps),
      act_(activation(config.act_fn)),
      conv_out_(config.block_out_channels.front(), config.out_channels, config.conv_out_kernel, 1,
                (config.conv_out_kernel - 1) / 2) {
  const auto& channels = config.block_out_channels;
  const size_t levels = channels.size();
  const ResnetOptions resnet{config.norm_num_groups, config.norm_eps, config.act_fn,
                             config.time_embedding_dim, config.resnet_time_scale_shift == "scale_shift"};
  const auto transformer = [&](size_t level, int64_t layers) {
    return TransformerOptions{config.attention_head_dim[level],
                              layers,
                              config.cross_attention_dim[level],
                              config.norm_num_groups,
                              config.use_linear_projection,
                              config.only_cross_attention[level],
                              attention};
  };

  for (size_t i = 0; i < levels; ++i) {
    const UNetBlockOptions options{i == 0 ? channels[0] : channels[i - 1],
                                   channels[i],
                                   0,
                                   config.layers_per_block[i],
                                   i + 1 < levels,
                                   config.downsample_padding,
                                   resnet,
                                   transformer(i, config.transformer_layers_per_block[i])};
    down_blocks_.append(make_down_block(config.down_block_types[i], options));
  }

  if (!config.mid_block_type.empty()) {
    UNetBlockOptions options{channels.back(),
                             channels.back(),
                             0,
                             1,
                             false,
                             0,
                             resnet,
                             transformer(levels - 1, config.transformer_layers_per_block.back())};
    options.resnet.output_scale_factor = config.mid_block_scale_factor;
    // only_cross_attention never reaches this kind of middle block.
    options.transformer.only_cross_attention = false;
    mid_block_ = make_mid_block(config.mid_block_type, options);
  }

  for (size_t i = 0; i < levels; ++i) {
    const size_t level = levels - 1 - i;
    const UNetBlockOptions options{channels[level == 0 ? 0 : level - 1],
                                   channels[level],
                                   channels[std::min(level + 1, levels - 1)],
                                   config.layers_per_block[level] + 1,
                                   i + 1 < levels,
                                   0,
                                   resnet,
                                   transformer(level, config.reverse_transformer_layers_per_block[i])};
    up_blocks_.append(make_up_block(config.up_block_types[i], options));
  }

  add_child("conv_in", conv_in_);
  add_child("time_embedding", time_embedding_);
  add_child("down_blocks", down_blocks_);
  add_child("up_blocks", up_blocks_);
  if (mid_block_) add_child("mid_block", *mid_block_);
  add_child("conv_norm_out", conv_norm_out_);
  add_child("conv_out", conv_out_);
}

at::Tensor UNet2DConditionModel::adapted(const std::string& name, const at::Tensor& value,
                                         at::IntArrayRef shape) const {
  const bool fits = config_.extend_input_channels && name == "conv_in.weight" && value.dim() == 4 &&
                    value.size(0) == shape[0] && value.size(1) < shape[1] && value.size(2) == shape[2] &&
                    value.size(3) == shape[3];
  if (!fits) return {};
  const at::Tensor extended = at::zeros(shape, value.options());
  extended.narrow(1, 0, value.size(1)).copy_(value);
  return extended;
}

void UNet2DConditionModel::quantize() {
  down_blocks_.quantize();
  if (mid_block_) mid_block_->quantize();
  up_blocks_.quantize();
}

TimeCondition UNet2DConditionModel::time_condition(const at::Tensor& timesteps, const at::Tensor& sample,
                                                   UNetCache* cache) const {
  const auto embed = [&](const at::Tensor& t) {
    return time_embedding_.forward(timestep_embedding(t.to(sample.device()), config_.block_out_channels[0],
                                                      config_.flip_sin_to_cos, config_.freq_shift)
                                       .to(sample.scalar_type()));
  };
  if (cache && timesteps.numel() == 1) {
    const auto embed_all = [&] { return std::vector<at::Tensor>{embed(cache->timesteps())}; };
    if (const auto row = cache->row_of(timesteps.item<double>()))
      return {cache->get(&time_embedding_, cache->timesteps(), embed_all)[0], row, cache};
  }
  return {embed(timesteps), std::nullopt, cache};
}

at::Tensor UNet2DConditionModel::deep_features(at::Tensor x, const TimeCondition& time,
                                               const TextCondition& text, std::vector<at::Tensor>& skips,
                                               bool match_skip_size) const {
  for (size_t i = 1; i < down_blocks_.size(); ++i) x = down_blocks_[i].forward(x, time, text, skips);
  if (mid_block_) x = mid_block_->forward(x, time, text);
  x = text.expand_rows(x);
  for (at::Tensor& skip : skips) skip = text.expand_rows(skip);
  for (size_t i = 0; i + 1 < up_blocks_.size(); ++i) {
    check_cancelled();
    x = up_blocks_[i].forward(x, time, text, skips, match_skip_size);
  }
  return x;
}

at::Tensor UNet2DConditionModel::forward(const at::Tensor& sample, const at::Tensor& timesteps,
                                         const TextCondition& text, DeepFeatures deep) const {
  const int64_t scale = int64_t{1} << (config_.block_out_channels.size() - 1);
  const bool match_skip_size = sample.size(2) % scale != 0 || sample.size(3) % scale != 0;

  const TimeCondition time = time_condition(timesteps, sample, text.cache);

  at::Tensor x = config_.center_input_sample ? sample * 2 - 1 : sample;
  // In mixed precision on a CPU, contiguous maps (which oneDNN reorders to its blocked layout) are faster
  // than channels-last, forward and backward. In float32 the layout is left alone, so that training matches
  // the reference implementation to the last digits.
  if (x.is_cpu() && at::autocast::is_autocast_enabled(at::kCPU)) x = x.contiguous();
  x = conv_in_.forward(x);
  std::vector<at::Tensor> skips{x};
  x = down_blocks_[0].forward(x, time, text, skips);
  at::Tensor kept = deep == DeepFeatures::Reuse ? text.cache->deep_features : at::Tensor();
  if (kept.defined() && kept.size(0) == text.embeddings.size(0) &&
      kept.sizes().slice(2) == sample.sizes().slice(2)) {
    // The deeper levels are skipped, the path down to them included.
    skips.resize(static_cast<size_t>(config_.layers_per_block[0]) + 1);
    for (at::Tensor& skip : skips) skip = text.expand_rows(skip);
    x = kept;
  } else {
    x = deep_features(x, time, text, skips, match_skip_size);
    if (deep != DeepFeatures::Forget) text.cache->deep_features = x;
  }
  check_cancelled();
  x = up_blocks_[up_blocks_.size() - 1].forward(x, time, text, skips, match_skip_size);
  x = is_silu(config_.act_fn) ? conv_norm_out_.forward_silu(x) : act_(conv_norm_out_.forward(x));
  // Contiguous, since samplers draw noise in memory order.
  return conv_out_.forward(x).contiguous();
}

}  // namespace ip2p

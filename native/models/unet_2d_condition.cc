#include "models/unet_2d_condition.h"

#include <ATen/ops/zeros.h>

#include <algorithm>

#include "core/cancel.h"
#include "core/error.h"
#include "models/blocks/block_types.h"

namespace ip2p {
namespace {

void check_residuals(const Residuals& residuals, size_t skips) {
  if (!residuals.defined()) return;
  if (!residuals.mid.defined())
    throw Error("ERR_INVALID_ARGUMENT",
                "midBlockAdditionalResidual is missing: it goes with downBlockAdditionalResiduals");
  if (residuals.down.size() != skips)
    throw Error("ERR_INVALID_ARGUMENT", "downBlockAdditionalResiduals must be " + std::to_string(skips) +
                                            " tensors, not " + std::to_string(residuals.down.size()));
}

at::Tensor plus_residual(const at::Tensor& x, const at::Tensor& residual, const char* name) {
  const bool pooled = residual.dim() == 4 && residual.size(2) == 1 && residual.size(3) == 1;
  const bool fits = residual.dim() == 4 && residual.size(1) == x.size(1) &&
                    (pooled || residual.sizes().slice(2) == x.sizes().slice(2)) &&
                    (residual.size(0) == x.size(0) || residual.size(0) == 1);
  if (!fits)
    throw Error("ERR_INVALID_ARGUMENT",
                std::string(name) + " holds a tensor that differs in shape from the features it is added to");
  return x + residual;
}

/// Whether a UNet is made of blocks whose names begin with K. They leave out skips that others take, so they
/// do not go together with them.
bool has_k_blocks(const UNet2DConditionConfig& config) {
  const auto& down = config.down_block_types;
  const auto is_k = [](const std::string& type) { return !type.empty() && type.front() == 'K'; };
  for (const auto* types : {&down, &config.up_block_types})
    for (const std::string& type : *types)
      if (is_k(type) != is_k(down.front()))
        throw Error("ERR_CONFIG", "\"" + down.front() + "\" and \"" + type +
                                      "\" do not go together (down_block_types, up_block_types)");
  return is_k(down.front());
}

}  // namespace

UNet2DConditionModel::UNet2DConditionModel(const UNet2DConditionConfig& config, AttentionBackend attention)
    : config_(config),
      made_of_k_blocks_(has_k_blocks(config)),
      encoder_(config, attention),
      act_(activation(config.act_fn)),
      conv_out_(config.block_out_channels.front(), config.out_channels, config.conv_out_kernel, 1,
                (config.conv_out_kernel - 1) / 2) {
  const auto& channels = config.block_out_channels;
  const size_t levels = channels.size();
  for (size_t i = 0; i < levels; ++i) {
    const size_t level = levels - 1 - i;
    UNetBlockOptions options = block_options(config, level, attention);
    options.in_channels = channels[level == 0 ? 0 : level - 1];
    options.prev_channels = channels[std::min(level + 1, levels - 1)];
    options.skip_channels = encoder_.skip_count(level) > 0 ? channels[level] : 0;
    options.layers += 1;
    options.head_dim = config.attention_head_dim[i];  // of up blocks these are not reversed
    options.resample = i + 1 < levels;
    options.transformer_layers = config.reverse_transformer_layers_per_block[i];
    up_blocks_.append(make_up_block(config.up_block_types[i], options));
  }

  add_children_of(encoder_, {"conv_in", "time_proj", "time_embedding", "encoder_hid_proj", "class_embedding",
                             "add_embedding", "down_blocks"});
  add_child("up_blocks", up_blocks_);
  add_children_of(encoder_, {"mid_block"});
  if (config.norm_num_groups > 0) {
    conv_norm_out_ = std::make_unique<GroupNorm>(config.norm_num_groups, channels.front(), config.norm_eps);
    add_child("conv_norm_out", *conv_norm_out_);
  }
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
  encoder_.quantize();
  up_blocks_.quantize();
}

at::Tensor UNet2DConditionModel::ascend(at::Tensor x, UNetEncoder::Pass& pass, bool match_skip_size) const {
  for (size_t i = 0; i + 1 < up_blocks_.size(); ++i) {
    check_cancelled();
    x = up_blocks_[i].forward(x, pass.time, pass.text, pass.skips, match_skip_size);
  }
  return x;
}

at::Tensor UNet2DConditionModel::forward(const at::Tensor& sample, const at::Tensor& timesteps,
                                         const Conditions& conditions) const {
  const AdapterRows adapters(conditions.adapters, conditions.sample_rows, sample.size(0));
  const Residuals& residuals = conditions.residuals;
  check_residuals(residuals, encoder_.skip_count());
  const int64_t scale = int64_t{1} << (config_.levels() - 1);
  const bool match_skip_size = sample.size(2) % scale != 0 || sample.size(3) % scale != 0;
  if (match_skip_size && made_of_k_blocks_)
    throw Error("ERR_INVALID_ARGUMENT",
                "sample must have a height and a width that are multiples of " + std::to_string(scale) +
                    ", not " + std::to_string(sample.size(2)) + " and " + std::to_string(sample.size(3)));

  UNetEncoder::Pass pass =
      encoder_.begin(config_.center_input_sample ? sample * 2 - 1 : sample, timesteps, conditions);
  const auto finish_skips = [&] {
    for (size_t i = 0; i < pass.skips.size(); ++i) {
      pass.skips[i] = pass.text.expand_rows(pass.skips[i]);
      if (residuals.defined())
        pass.skips[i] = plus_residual(pass.skips[i], residuals.down[i], "downBlockAdditionalResiduals");
    }
  };
  at::Tensor x =
      conditions.deep_features == DeepFeatures::Reuse ? conditions.cache->deep_features : at::Tensor();
  if (x.defined() && x.size(0) == conditions.rows() && x.sizes().slice(2) == sample.sizes().slice(2)) {
    // The deeper levels are skipped, the path down to them included.
    pass.skips.resize(encoder_.highest_skips());
    finish_skips();
  } else {
    encoder_.descend(pass);
    x = pass.text.expand_rows(pass.x);
    pass.x.reset();
    if (residuals.defined()) x = plus_residual(x, residuals.mid, "midBlockAdditionalResidual");
    finish_skips();
    x = ascend(x, pass, match_skip_size);
    if (conditions.deep_features != DeepFeatures::Forget) conditions.cache->deep_features = x;
  }
  check_cancelled();
  x = up_blocks_[up_blocks_.size() - 1].forward(x, pass.time, pass.text, pass.skips, match_skip_size);
  if (conv_norm_out_)
    x = is_silu(config_.act_fn) ? conv_norm_out_->forward_silu(x) : act_(conv_norm_out_->forward(x));
  // Contiguous, since samplers draw noise in memory order.
  return conv_out_.forward(x).contiguous();
}

}  // namespace ip2p

#include "models/controlnet.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/logspace.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/zeros.h>

#include "core/cancel.h"
#include "core/error.h"

namespace ip2p {
namespace {

constexpr const char* kClassAct = "silu";  // of a class embedding, whatever act_fn says

at::Tensor with_zero_rows(const at::Tensor& x, const ControlInput& control) {
  if (control.zero_rows_before == 0 && control.zero_rows_behind == 0) return x;
  const auto zeros = [&](int64_t rows) {
    std::vector<int64_t> shape = x.sizes().vec();
    shape[0] = rows;
    return at::zeros(shape, x.options());
  };
  return at::cat({zeros(control.zero_rows_before), x, zeros(control.zero_rows_behind)});
}

}  // namespace

ControlNetConfig::ControlNetConfig(const ConfigValue& config)
    : UNetEncoderConfig(config),
      conditioning_channels(config.integer("conditioning_channels")),
      conditioning_embedding_out_channels(config.integers("conditioning_embedding_out_channels")),
      bgr(config.string("controlnet_conditioning_channel_order") == "bgr"),
      global_pool_conditions(config.boolean("global_pool_conditions")) {
  class_act_fn = kClassAct;
  if (conditioning_embedding_out_channels.empty())
    throw Error("ERR_CONFIG", "\"conditioning_embedding_out_channels\" is empty");
}

ControlNetConditioningEmbedding::ControlNetConditioningEmbedding(const ControlNetConfig& config)
    : conv_in_(config.conditioning_channels, config.conditioning_embedding_out_channels.front(), 3, 1, 1),
      conv_out_(config.conditioning_embedding_out_channels.back(), config.block_out_channels.front(), 3, 1,
                1) {
  const auto& channels = config.conditioning_embedding_out_channels;
  for (size_t i = 0; i + 1 < channels.size(); ++i) {
    blocks_.emplace(channels[i], channels[i], 3, 1, 1);
    blocks_.emplace(channels[i], channels[i + 1], 3, 2, 1);
  }
  add_child("conv_in", conv_in_);
  add_child("blocks", blocks_);
  add_child("conv_out", conv_out_);
}

at::Tensor ControlNetConditioningEmbedding::forward(const at::Tensor& x) const {
  at::Tensor features = at::silu(conv_in_.forward(x));
  for (size_t i = 0; i < blocks_.size(); ++i) {
    check_cancelled();
    features = at::silu(blocks_[i].forward(features));
  }
  return conv_out_.forward(features);
}

ControlNetModel::ControlNetModel(const ControlNetConfig& config, AttentionBackend attention)
    : config_(config),
      encoder_(config, attention),
      controlnet_cond_embedding_(config),
      controlnet_mid_block_(config.block_out_channels.back(), config.block_out_channels.back(), 1) {
  const auto& channels = config.block_out_channels;
  controlnet_down_blocks_.emplace(channels.front(), channels.front(), 1);
  for (size_t level = 0; level < config.levels(); ++level) {
    const bool resamples = level + 1 < config.levels();
    for (int64_t i = 0; i < config.layers_per_block[level] + (resamples ? 1 : 0); ++i)
      controlnet_down_blocks_.emplace(channels[level], channels[level], 1);
  }
  if (controlnet_down_blocks_.size() != encoder_.skip_count())
    throw Error("ERR_CONFIG", "\"down_block_types\" holds a type that ControlNets do not have");

  add_children_of(encoder_, {"conv_in", "time_embedding", "class_embedding", "add_embedding"});
  add_child("controlnet_cond_embedding", controlnet_cond_embedding_);
  add_children_of(encoder_, {"down_blocks"});
  add_child("controlnet_down_blocks", controlnet_down_blocks_);
  add_children_of(encoder_, {"mid_block"});
  add_child("controlnet_mid_block", controlnet_mid_block_);
}

bool ControlNetModel::starts_at_zero(const std::string& name) const {
  for (const char* prefix :
       {"controlnet_cond_embedding.conv_out.", "controlnet_down_blocks.", "controlnet_mid_block."})
    if (name.rfind(prefix, 0) == 0) return true;
  return false;
}

at::Tensor ControlNetModel::embedded(const ControlInput& control, const at::Tensor& sample,
                                     UNetCache* cache) const {
  const at::Tensor& picture = control.picture;
  if (picture.size(1) != config_.conditioning_channels)
    throw Error("ERR_INVALID_ARGUMENT", "controlnetCond needs " +
                                            std::to_string(config_.conditioning_channels) +
                                            " channels, has " + std::to_string(picture.size(1)));
  if (picture.size(0) != 1 && picture.size(0) != sample.size(0))
    throw Error("ERR_INVALID_ARGUMENT", "controlnetCond has " + std::to_string(picture.size(0)) +
                                            " rows for a sample of " + std::to_string(sample.size(0)));
  const auto embed = [&] {
    return std::vector<at::Tensor>{
        controlnet_cond_embedding_.forward(config_.bgr ? picture.flip({1}) : picture)};
  };
  const at::Tensor features = cache ? cache->get(&controlnet_cond_embedding_, picture, embed)[0] : embed()[0];
  if (features.sizes().slice(2) != sample.sizes().slice(2))
    throw Error("ERR_INVALID_ARGUMENT",
                "controlnetCond of " + std::to_string(picture.size(2)) + "×" +
                    std::to_string(picture.size(3)) + " pixels is for a sample of " +
                    std::to_string(features.size(2)) + "×" + std::to_string(features.size(3)) + ", not " +
                    std::to_string(sample.size(2)) + "×" + std::to_string(sample.size(3)));
  return features;
}

Residuals ControlNetModel::forward(const at::Tensor& sample, const at::Tensor& timesteps,
                                   const Conditions& conditions, const ControlInput& control) const {
  const Residuals& others = conditions.residuals;
  if (others.defined() && (!others.mid.defined() || others.down.size() != encoder_.skip_count()))
    throw Error("ERR_INVALID_ARGUMENT", "the residuals to add to must be " +
                                            std::to_string(encoder_.skip_count()) +
                                            " tensors and one of the middle");
  UNetEncoder::Pass pass =
      encoder_.begin(sample, timesteps, conditions, embedded(control, sample, conditions.cache));
  encoder_.descend(pass);
  check_cancelled();

  const size_t count = pass.skips.size() + 1;
  at::Tensor scales;  // undefined: the same for all
  if (control.guess_mode && !config_.global_pool_conditions)
    scales = at::logspace(-1, 0, static_cast<int64_t>(count), 10, at::TensorOptions().dtype(at::kFloat)) *
             control.scale;
  const auto residual = [&](const at::Tensor& features, size_t index, const at::Tensor& other) {
    at::Tensor x = pass.text.expand_rows(features);
    x = x * (scales.defined() ? scales[static_cast<int64_t>(index)].item<double>() : control.scale);
    if (config_.global_pool_conditions) x = x.mean({2, 3}, true);
    x = with_zero_rows(x, control);
    return other.defined() ? other + x : x;
  };
  Residuals result;
  for (size_t i = 0; i < pass.skips.size(); ++i) {
    result.down.push_back(residual(controlnet_down_blocks_[i].forward(pass.skips[i]), i,
                                   others.defined() ? others.down[i] : at::Tensor()));
    pass.skips[i].reset();
  }
  result.mid = residual(controlnet_mid_block_.forward(pass.x), count - 1, others.mid);
  return result;
}

}  // namespace ip2p

#include "models/unet_encoder.h"

#include <ATen/autocast_mode.h>
#include <ATen/ops/tensor.h>

#include <algorithm>

#include "models/blocks/block_types.h"

namespace ip2p {
namespace {

/// Groups of the middle's norms where norm_num_groups is null.
constexpr int64_t kMostGroups = 32;

}  // namespace

UNetBlockOptions block_options(const UNetEncoderConfig& config, size_t level, AttentionBackend attention) {
  UNetBlockOptions options{};
  options.in_channels = options.out_channels = config.block_out_channels[level];
  options.layers = config.layers_per_block[level];
  options.downsample_padding = config.downsample_padding;
  options.resnet = {config.norm_num_groups, config.norm_eps, config.act_fn, config.time_embedding_dim,
                    config.resnet_time_scale_shift == "scale_shift"};
  options.transformer = {config.attention_head_dim[level],
                         1,
                         config.cross_attention_dim[level],
                         config.norm_num_groups,
                         config.use_linear_projection,
                         config.only_cross_attention[level],
                         attention};
  options.head_dim = config.attention_head_dim[level];
  options.transformer_layers = config.transformer_layers_per_block[level];
  options.skip_time_act = config.resnet_skip_time_act;
  options.output_scale_factor = config.resnet_out_scale_factor;
  return options;
}

UNetEncoder::UNetEncoder(const UNetEncoderConfig& config, AttentionBackend attention)
    : conv_in_(config.in_channels, config.block_out_channels.front(), config.conv_in_kernel, 1,
               (config.conv_in_kernel - 1) / 2),
      embeddings_(config) {
  for (size_t i = 0; i < config.levels(); ++i) {
    UNetBlockOptions options = block_options(config, i, attention);
    options.in_channels = config.block_out_channels[i == 0 ? 0 : i - 1];
    options.resample = i + 1 < config.levels();
    down_blocks_.append(make_down_block(config.down_block_types[i], options));
  }
  if (!config.mid_block_type.empty()) {
    UNetBlockOptions options = block_options(config, config.levels() - 1, attention);
    options.layers = 1;
    options.resnet.output_scale_factor = options.output_scale_factor = config.mid_block_scale_factor;
    options.transformer.only_cross_attention = config.mid_block_only_cross_attention;
    if (config.norm_num_groups == 0)
      options.resnet.groups = options.transformer.groups =
          std::min<int64_t>(options.in_channels / 4, kMostGroups);
    mid_block_ = make_mid_block(config.mid_block_type, options);
  }

  add_child("conv_in", conv_in_);
  add_children_of(embeddings_,
                  {"time_proj", "time_embedding", "encoder_hid_proj", "class_embedding", "add_embedding"});
  add_child("down_blocks", down_blocks_);
  if (mid_block_) add_child("mid_block", *mid_block_);
}

size_t UNetEncoder::skip_count() const {
  size_t count = 1;
  for (size_t level = 0; level < down_blocks_.size(); ++level) count += skip_count(level);
  return count;
}

void UNetEncoder::quantize() {
  down_blocks_.quantize();
  if (mid_block_) mid_block_->quantize();
}

void UNetEncoder::share_or_expand(Pass& pass, const Conditions& conditions) const {
  if (!pass.text.sample_rows.defined() || pass.time.row || pass.time.embedding.size(0) == 1) return;
  // For each row of the sample a row of the text that it belongs to, and for each row of the text that one.
  const std::vector<int64_t>& rows = conditions.sample_rows;
  std::vector<int64_t> first(static_cast<size_t>(pass.x.size(0)), 0), same(rows.size());
  for (size_t i = rows.size(); i-- > 0;) first[static_cast<size_t>(rows[i])] = static_cast<int64_t>(i);
  for (size_t i = 0; i < rows.size(); ++i) same[i] = first[static_cast<size_t>(rows[i])];
  const auto on_device = [&](const std::vector<int64_t>& list) {
    return at::tensor(list, at::TensorOptions().dtype(at::kLong)).to(pass.x.device());
  };
  const at::Tensor representatives = on_device(same);
  const auto agrees = [&](const at::Tensor& condition) {
    return !condition.defined() || condition.size(0) == 1 ||
           condition.index_select(0, representatives).equal(condition);
  };
  if (agrees(conditions.text_embeds) && agrees(conditions.time_ids) && agrees(conditions.image_embeds) &&
      agrees(conditions.class_labels) && agrees(conditions.timestep_cond)) {
    pass.time.by_sample_row = pass.time.embedding.index_select(0, on_device(first));
  } else {
    pass.x = pass.text.expand_rows(pass.x);
    pass.text.sample_rows.reset();
  }
}

UNetEncoder::Pass UNetEncoder::begin(const at::Tensor& sample, const at::Tensor& timesteps,
                                     const Conditions& conditions, const at::Tensor& added) const {
  embeddings_.check(conditions, conditions.rows());
  Pass pass;
  pass.text = {embeddings_.context(conditions), {}, conditions.cache};
  if (!conditions.sample_rows.empty())
    pass.text.sample_rows =
        at::tensor(conditions.sample_rows, at::TensorOptions().dtype(at::kLong)).to(sample.device());
  pass.time = embeddings_.forward(timesteps, sample, conditions);
  // In mixed precision on a CPU, contiguous maps (which oneDNN reorders to its blocked layout) are faster
  // than channels-last, forward and backward. In float32 the layout is left alone, so that training matches
  // the reference implementation to the last digits.
  const bool contiguous = sample.is_cpu() && at::autocast::is_autocast_enabled(at::kCPU);
  pass.x = conv_in_.forward(contiguous ? sample.contiguous() : sample);
  if (added.defined()) pass.x = pass.x + added;
  share_or_expand(pass, conditions);
  pass.skips = {pass.x};
  pass.x = down_blocks_[0].forward(pass.x, pass.time, pass.text, pass.skips);
  return pass;
}

void UNetEncoder::descend(Pass& pass) const {
  for (size_t i = 1; i < down_blocks_.size(); ++i)
    pass.x = down_blocks_[i].forward(pass.x, pass.time, pass.text, pass.skips);
  if (mid_block_) pass.x = mid_block_->forward(pass.x, pass.time, pass.text);
}

}  // namespace ip2p

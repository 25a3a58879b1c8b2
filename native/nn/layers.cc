#include "nn/layers.h"

#include <ATen/ops/embedding.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/mish.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/silu.h>
#include <c10/core/GradMode.h>

#include "core/error.h"
#include "kernels/column_blocks.h"
#include "kernels/half_weights.h"
#include "kernels/int8.h"
#include "kernels/ops.h"
#include "kernels/upsample_conv2d.h"
#include "kernels/winograd.h"
#include "nn/low_rank_adapter.h"
#include "nn/widened_product.h"

namespace ip2p {

namespace {

/// A small parameter in the type of x, where products take half-precision weights.
at::Tensor like(const at::Tensor& x, const at::Tensor& parameter) {
  return takes_half_weights(x, parameter.scalar_type()) ? parameter.to(at::kFloat) : parameter;
}

}  // namespace

Linear::Linear(int64_t in_features, int64_t out_features, bool bias) {
  add_parameter("weight", weight_, {out_features, in_features});
  weight_.multiplies = true;
  if (bias) add_parameter("bias", bias_, {out_features});
}

at::Tensor Linear::forward(const at::Tensor& x, const at::Tensor& addend) const {
  const at::Tensor y = product(x, addend);
  return weight_.adapters().empty() ? y : with_adapters_linear(weight_, x, y);
}

at::Tensor Linear::product(const at::Tensor& x, const at::Tensor& addend) const {
  const std::optional<at::Tensor> bias =
      bias_.shape.empty() ? std::nullopt : std::optional<at::Tensor>(*bias_);
  if (weight_.int8()) {
    const at::Tensor packed = weight_.packed([&](const at::Tensor& codes) {
      return pack_int8_linear({codes, weight_.scales()}, x.numel() / x.size(-1));
    });
    return int8_linear(x, packed, weight_.scales(), bias, addend);
  }
  if (can_pack(x, weight_.type())) {
    const at::Tensor packed =
        weight_.packed([&](const at::Tensor& weight) { return pack_linear(weight, x.numel() / x.size(-1)); });
    if (packed.defined()) return packed_linear(x, packed, bias, addend);
  }
  if (takes_half_weights(x, weight_.type())) {
    const at::Tensor packed =
        has_half_products() ? weight_.packed(pack_columns, Packing::Columns) : at::Tensor();
    return packed.defined() ? half_product(x, packed, weight_.shape[0], bias, addend)
                            : half_weight_linear(x, *weight_, bias, addend);
  }
  const at::Tensor y = linear_product(x, weight_.for_product(), bias);
  return addend.defined() ? y + addend : y;
}

Conv2d::Conv2d(int64_t in_channels, int64_t out_channels, int64_t kernel, int64_t stride, int64_t padding,
               bool bias)
    : geometry_{stride, padding} {
  add_parameter("weight", weight_, {out_channels, in_channels, kernel, kernel});
  weight_.multiplies = true;
  if (bias) add_parameter("bias", bias_, {out_channels});
}

std::optional<at::Tensor> Conv2d::bias() const {
  return bias_.shape.empty() ? std::nullopt : std::optional<at::Tensor>(*bias_);
}

at::Tensor Conv2d::forward(const at::Tensor& x, const at::Tensor& addend) const {
  const at::Tensor y = product(x, addend);
  return weight_.adapters().empty() ? y : with_adapters_conv2d(weight_, x, geometry_, y);
}

at::Tensor Conv2d::product(const at::Tensor& x, const at::Tensor& addend) const {
  if (weight_.int8()) {
    const at::Tensor packed = weight_.packed([&](const at::Tensor& codes) {
      return pack_int8_conv2d({codes, weight_.scales()}, x.sizes(), geometry_);
    });
    return int8_conv2d(x, packed, weight_.scales(), bias(), geometry_, addend);
  }
  const bool packs = can_pack(x, weight_.type()), halves = takes_half_weights(x, weight_.type());
  if ((packs || halves) && prefers_winograd(x, weight_.shape, geometry_.stride, geometry_.padding)) {
    const at::Tensor packed = weight_.packed(pack_columns, Packing::Columns);
    if (packed.defined()) return winograd_conv2d(x, packed, weight_.shape[0], bias(), addend);
  }
  if (halves) {
    const bool points = weight_.shape[2] == 1 && weight_.shape[3] == 1 && geometry_.stride == 1 &&
                        geometry_.padding == 0 && has_half_products();
    const at::Tensor packed = points ? weight_.packed(pack_columns, Packing::Columns) : at::Tensor();
    if (!packed.defined()) return half_weight_conv2d(x, *weight_, bias(), geometry_, addend);
    const auto rows = [](const at::Tensor& map) {
      return map.defined() ? map.contiguous(at::MemoryFormat::ChannelsLast).permute({0, 2, 3, 1}) : map;
    };
    return half_product(rows(x), packed, weight_.shape[0], bias(), rows(addend)).permute({0, 3, 1, 2});
  }
  if (packs) {
    const at::Tensor packed =
        weight_.packed([&](const at::Tensor& weight) { return pack_conv2d(weight, x.sizes(), geometry_); });
    if (packed.defined()) return packed_conv2d(x, packed, bias(), geometry_, addend);
  }
  const at::Tensor y = plain_conv2d(x);
  return addend.defined() ? y + addend : y;
}

at::Tensor Conv2d::plain_conv2d(const at::Tensor& x) const {
  if (takes_half_weights(x, weight_.type())) return half_weight_conv2d(x, *weight_, bias(), geometry_, {});
  return conv2d_product(x, weight_.for_product(), bias(), geometry_);
}

at::Tensor Conv2d::forward_upsampled(const at::Tensor& x) const {
  const at::Tensor y = upsampled_product(x);
  if (weight_.adapters().empty()) return y;
  return with_adapters_conv2d(weight_, x.repeat_interleave(2, 2).repeat_interleave(2, 3), geometry_, y);
}

at::Tensor Conv2d::upsampled_product(const at::Tensor& x) const {
  constexpr Conv2dGeometry kUnpadded{1, 0};
  if (int8_upsampled_) {
    // The weight and the scales of each phase.
    const std::vector<at::Tensor> kernels = weight_.derived([&](const at::Tensor& weight) {
      std::vector<at::Tensor> made;
      for (const at::Tensor& phase : upsample_phases(weight)) {
        const Int8Weight quantized = quantize_weight(phase);
        made.push_back(pack_int8_conv2d(quantized, phase_input_sizes(x), kUnpadded));
        made.push_back(quantized.scales);
      }
      return made;
    });
    return upsample_conv2d(x, [&](const at::Tensor& part, size_t phase) {
      return int8_conv2d(part, kernels[2 * phase], kernels[2 * phase + 1], bias(), kUnpadded, {});
    });
  }
  const bool floats = takes_half_weights(x, weight_.type()) || widens(x, weight_.type());
  const bool packs = can_pack(x, floats ? at::kFloat : weight_.type());
  const std::vector<at::Tensor> kernels = weight_.derived([&](const at::Tensor& weight) {
    std::vector<at::Tensor> phases = upsample_phases(floats ? weight.to(at::kFloat) : weight);
    if (packs)
      for (at::Tensor& phase : phases) phase = pack_conv2d(phase, phase_input_sizes(x), kUnpadded);
    return phases;
  });
  std::optional<at::Tensor> offset = bias();
  if (floats && offset) offset = offset->to(at::kFloat);
  return upsample_conv2d(x, [&](const at::Tensor& part, size_t phase) {
    const at::Tensor& kernel = kernels[phase];
    return kernel.is_mkldnn() ? packed_conv2d(part, kernel, offset, kUnpadded, {})
                              : conv2d_product(part, kernel, offset, kUnpadded);
  });
}

at::Tensor Conv2d::forward_plain(const at::Tensor& x, at::MemoryFormat layout) const {
  const at::Tensor input = x.contiguous(layout);
  const at::Tensor y = plain_conv2d(input);
  return weight_.adapters().empty() ? y : with_adapters_conv2d(weight_, input, geometry_, y);
}

GroupNorm::GroupNorm(int64_t groups, int64_t channels, double eps) : groups_(groups), eps_(eps) {
  if (groups <= 0 || channels % groups != 0)
    throw Error("ERR_CONFIG", "a group norm of " + std::to_string(channels) + " channels cannot have " +
                                  std::to_string(groups) + " groups (norm_num_groups)");
  add_parameter("weight", weight_, {channels});
  add_parameter("bias", bias_, {channels});
}

at::Tensor GroupNorm::forward(const at::Tensor& x) const {
  return group_norm(x, groups_, like(x, *weight_), like(x, *bias_), eps_);
}

at::Tensor GroupNorm::forward_silu(const at::Tensor& x, const std::optional<at::Tensor>& shift) const {
  return group_norm_silu(x, groups_, like(x, *weight_), like(x, *bias_), eps_, shift);
}

LayerNorm::LayerNorm(int64_t features, double eps) : eps_(eps) {
  add_parameter("weight", weight_, {features});
  add_parameter("bias", bias_, {features});
}

at::Tensor LayerNorm::forward(const at::Tensor& x) const {
  return at::layer_norm(x, {x.size(-1)}, like(x, *weight_), like(x, *bias_), eps_);
}

Embedding::Embedding(int64_t count, int64_t features) {
  add_parameter("weight", weight_, {count, features});
  weight_.looked_up = true;
}

at::Tensor Embedding::forward(const at::Tensor& ids) const {
  at::Tensor rows = at::embedding(*weight_, ids);
  if (!weight_.adapters().empty()) rows = with_adapters_embedding(weight_, ids, rows).to(rows.scalar_type());
  return c10::GradMode::is_enabled() ? rows : rows.to(arithmetic_type(rows.scalar_type(), rows.device()));
}

bool is_silu(const std::string& name) {
  return name == "silu" || name == "swish";
}

Activation activation(const std::string& name) {
  if (is_silu(name)) return [](const at::Tensor& x) { return at::silu(x); };
  if (name == "mish") return [](const at::Tensor& x) { return at::mish(x); };
  if (name == "gelu") return [](const at::Tensor& x) { return at::gelu(x); };
  if (name == "relu") return [](const at::Tensor& x) { return at::relu(x); };
  if (name == "quick_gelu") return [](const at::Tensor& x) { return x * at::sigmoid(x * 1.702); };
  throw Error("ERR_CONFIG", "activation \"" + name + "\" is not supported");
}

}  // namespace ip2p

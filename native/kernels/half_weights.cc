#include "kernels/half_weights.h"

#include <ATen/autocast_mode.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/empty.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <vector>

#include "kernels/onednn.h"
#include "kernels/simd/instruction_set.h"

namespace ip2p {
namespace {

/// Numbers of a weight that are widened together: 1 MB, which the second-level caches of two cores hold.
constexpr int64_t PIECE = 1 << 18;

bool is_half(c10::ScalarType type) {
  return type == at::kBFloat16 || type == at::kHalf;
}

bool has_float16_products() {
#if defined(__x86_64__) && defined(__GNUC__)
  static const bool has = __builtin_cpu_supports("avx512fp16");
  return has && instruction_set() >= InstructionSet::Avx512;
#else
  return false;
#endif
}

}  // namespace

c10::ScalarType arithmetic_type(c10::ScalarType weights, c10::Device device) {
  if (!device.is_cpu() || !is_half(weights)) return weights;
  const bool native =
      weights == at::kBFloat16 ? instruction_set() >= InstructionSet::Avx512Bf16 : has_float16_products();
  return native ? weights : at::kFloat;
}

bool takes_half_weights(const at::Tensor& x, c10::ScalarType weight) {
  return x.is_cpu() && x.scalar_type() == at::kFloat && is_half(weight) && !c10::GradMode::is_enabled() &&
         !at::autocast::is_autocast_enabled(at::kCPU);
}

at::Tensor half_weight_linear(const at::Tensor& x, const at::Tensor& weight,
                              const std::optional<at::Tensor>& bias, const at::Tensor& addend) {
  const int64_t in = weight.size(1), out = weight.size(0);
  const at::Tensor rows = x.reshape({-1, in});
  std::vector<int64_t> shape = x.sizes().vec();
  shape.back() = out;
  at::Tensor y = at::empty({rows.size(0), out}, rows.options());
  const bool starts = bias || addend.defined();
  if (addend.defined()) y.copy_(addend.expand(shape).reshape({-1, out}));
  if (bias && addend.defined()) y.add_(*bias);
  if (bias && !addend.defined()) y.copy_(bias->expand({rows.size(0), out}));
  const int64_t most = std::clamp<int64_t>(PIECE / std::max<int64_t>(in, 1), 16, std::max<int64_t>(out, 16));
  const at::Tensor piece = at::empty({std::min(most, out), in}, rows.options());
  for (int64_t first = 0; first < out; first += most) {
    const int64_t count = std::min(most, out - first);
    at::Tensor widened = piece.narrow(0, 0, count);
    widened.copy_(weight.narrow(0, first, count));
    y.narrow(1, first, count).addmm_(rows, widened.t(), starts ? 1 : 0);
  }
  return y.view(shape);
}

at::Tensor half_weight_conv2d(const at::Tensor& x, const at::Tensor& weight,
                              const std::optional<at::Tensor>& bias, Conv2dGeometry geometry,
                              const at::Tensor& addend) {
  const at::Tensor input = x.contiguous(at::MemoryFormat::ChannelsLast);
  if (weight.size(2) == 1 && weight.size(3) == 1 && geometry.stride == 1 && geometry.padding == 0) {
    const at::Tensor added = addend.defined() ? addend.permute({0, 2, 3, 1}) : addend;
    return half_weight_linear(input.permute({0, 2, 3, 1}), weight.reshape({weight.size(0), weight.size(1)}),
                              bias, added)
        .permute({0, 3, 1, 2});
  }
  const auto widened_bias = bias ? std::optional(bias->to(at::kFloat)) : std::nullopt;
  const at::Tensor y =
      at::conv2d(input, weight.to(at::kFloat), widened_bias, both(geometry.stride), both(geometry.padding));
  return addend.defined() ? y + addend : y;
}

}  // namespace ip2p

#include "kernels/half_weights.h"

#include <ATen/Parallel.h>
#include <ATen/autocast_mode.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linear.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <vector>

#include "kernels/column_blocks.h"
#include "kernels/onednn.h"
#include "kernels/simd/half_product.h"
#include "kernels/simd/instruction_set.h"

namespace ip2p {
namespace {

/// Rows whose sums are kept together: as many as serve a widened piece of the weights well.
constexpr int64_t MOST_ROWS = 256;

bool is_half(c10::ScalarType type) {
  return type == at::kBFloat16 || type == at::kHalf;
}

}  // namespace

c10::ScalarType arithmetic_type(c10::ScalarType weights, c10::Device device) {
  if (!device.is_cpu() || !is_half(weights)) return weights;
  // Processors that multiply float16 numbers are no faster in it: libtorch packs no weights of that type.
  return weights == at::kBFloat16 && multiplies_bfloat16() ? weights : at::kFloat;
}

bool takes_half_weights(const at::Tensor& x, c10::ScalarType weight) {
  return x.is_cpu() && x.scalar_type() == at::kFloat && is_half(weight) && !c10::GradMode::is_enabled() &&
         !at::autocast::is_autocast_enabled(at::kCPU);
}

bool has_half_products() {
  return instruction_set() != InstructionSet::None;
}

at::Tensor half_product(const at::Tensor& x, const at::Tensor& packed, int64_t out_features,
                        const std::optional<at::Tensor>& bias, const at::Tensor& addend) {
  const int64_t in = x.size(-1), count = x.numel() / in;
  std::vector<int64_t> shape = x.sizes().vec();
  shape.back() = out_features;
  const at::Tensor rows = x.reshape({count, in}).contiguous();
  const at::Tensor y = at::empty(shape, rows.options());
  if (count == 0) return y;
  const at::Tensor biases = bias ? bias->to(at::kFloat).contiguous() : at::Tensor();
  const at::Tensor added = addend.defined() ? addend.expand(shape).contiguous() : addend;
  const at::Tensor input = at::empty({IP2P_SELECT_SIMD(half_product_input_size)(count, in)}, rows.options());
  const auto arrange = IP2P_SELECT_SIMD(half_product_input);
  at::parallel_for(0, count, 16, [&](int64_t from, int64_t to) {
    arrange(rows.const_data_ptr<float>(), in, count, in, from, to, input.mutable_data_ptr<float>());
  });
  const HalfProduct product{count,
                            in,
                            out_features,
                            input.const_data_ptr<float>(),
                            column_blocks(packed),
                            biases.defined() ? biases.const_data_ptr<float>() : nullptr,
                            added.defined() ? added.const_data_ptr<float>() : nullptr,
                            y.mutable_data_ptr<float>()};
  const int64_t blocks = IP2P_SELECT_SIMD(column_blocks)(out_features), threads = at::get_num_threads();
  const int64_t ranges = (count + MOST_ROWS - 1) / MOST_ROWS, range = (count + ranges - 1) / ranges;
  const int64_t scratch_size = IP2P_SELECT_SIMD(half_product_scratch_size)(range);
  const at::Tensor scratch = at::empty({threads * scratch_size}, rows.options());
  const auto multiply = IP2P_SELECT_SIMD(half_product);
  // Blocks after one another share the rows, which the second-level cache holds.
  at::parallel_for(0, blocks * ranges, 1, [&](int64_t from, int64_t to) {
    float* const own = scratch.mutable_data_ptr<float>() + at::get_thread_num() * scratch_size;
    for (int64_t item = from; item < to; ++item) {
      const int64_t first = item / blocks * range;
      multiply(product, item % blocks, first, std::min(count, first + range), own);
    }
  });
  return y;
}

at::Tensor half_weight_linear(const at::Tensor& x, const at::Tensor& weight,
                              const std::optional<at::Tensor>& bias, const at::Tensor& addend) {
  const auto widened_bias = bias ? std::optional(bias->to(at::kFloat)) : std::nullopt;
  const at::Tensor y = at::linear(x, weight.to(at::kFloat), widened_bias);
  return addend.defined() ? y + addend : y;
}

at::Tensor half_weight_conv2d(const at::Tensor& x, const at::Tensor& weight,
                              const std::optional<at::Tensor>& bias, Conv2dGeometry geometry,
                              const at::Tensor& addend) {
  const auto widened_bias = bias ? std::optional(bias->to(at::kFloat)) : std::nullopt;
  const at::Tensor y = at::conv2d(x.contiguous(at::MemoryFormat::ChannelsLast), weight.to(at::kFloat),
                                  widened_bias, both(geometry.stride), both(geometry.padding));
  return addend.defined() ? y + addend : y;
}

}  // namespace ip2p

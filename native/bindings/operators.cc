// Exposes single layer operators to tests and benchmarks, which compare them with their reference
// implementations.
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/stack.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/autograd.h>

#include <map>

#include "bindings/convert.h"
#include "bindings/objects.h"
#include "bindings/register.h"
#include "core/cuda_library.h"
#include "core/error.h"
#include "kernels/column_blocks.h"
#include "kernels/composed_geglu.h"
#include "kernels/half_weights.h"
#include "kernels/int8.h"
#include "kernels/ops.h"
#include "kernels/winograd.h"
#include "nn/attention.h"
#include "nn/widened_product.h"
#include "training/bfloat16_rounding.h"
#include "training/cpu_adamw.h"

namespace ip2p {
namespace {

using Info = Napi::CallbackInfo;
using Tensors = std::vector<at::Tensor>;
using Numbers = std::vector<double>;

struct Operator {
  size_t tensors, numbers;
  at::Tensor (*call)(const Tensors&, const Numbers&);
};

AttentionBackend backend(double number) {
  return number == 0 ? AttentionBackend::Auto : AttentionBackend::Math;
}

/// A step of AdamW on copies. Tensors: weight, gradient, first moment, root of the second, average; numbers:
/// learning rate, count of steps, divisor, decay of the average. → weight, moments, average and the weight
/// rounded to bfloat16, stacked
at::Tensor adamw_step(const Tensors& t, const Numbers& n, bool plain) {
  const AdamWOptions options;
  const AdamWTensors one{t[0].clone(),  t[1].clone(), t[2].clone(),
                         t[3].square(), t[4].clone(), at::empty_like(t[0], at::kBFloat16)};
  if (!plain && cpu_adamw_takes({one})) {
    cpu_adamw({one}, options, n[0], n[1], static_cast<float>(n[2]), n[3]);
  } else {
    const auto scalar = [](double value) { return at::full({}, value, at::kFloat); };
    at::_fused_adamw_({one.weight}, {one.gradient}, {one.exp_avg}, {one.exp_avg_sq}, {}, {scalar(n[1])}, n[0],
                      options.beta1, options.beta2, options.weight_decay, options.epsilon, false, false,
                      scalar(n[2]), scalar(0));
    Parameter weight;
    weight.value = one.weight;
    const Tensors averages{one.average};
    WeightAverage{averages, n[3]}.move(0, weight);
    one.shadow.copy_(one.weight);
  }
  return at::stack({one.weight, one.exp_avg, one.exp_avg_sq, one.average, one.shadow.to(at::kFloat)});
}

at::Tensor stochastically_rounded(const at::Tensor& x, const Numbers& n) {
  const at::Tensor out = at::empty_like(x, at::kBFloat16);
  const RoundingDraw draw{static_cast<uint64_t>(n[0]), static_cast<uint32_t>(n[1]),
                          static_cast<uint32_t>(n[2])};
  round_stochastically(x.const_data_ptr<float>(), x.numel(), draw, static_cast<int64_t>(n[3]),
                       out.mutable_data_ptr<at::BFloat16>());
  return out;
}

/// What is kept, and the sum of it and the remainder.
at::Tensor rounded_with_remainder(const at::Tensor& x) {
  const at::Tensor kept = at::empty_like(x, at::kBFloat16), remainder = at::empty_like(x, at::kShort);
  const at::Tensor sum = at::empty_like(x);
  auto* const out = kept.mutable_data_ptr<at::BFloat16>();
  auto* const rest = remainder.mutable_data_ptr<int16_t>();
  round_with_remainder(x.const_data_ptr<float>(), x.numel(), out, rest);
  widen(out, rest, x.numel(), sum.mutable_data_ptr<float>());
  return at::stack({kept.to(at::kFloat), sum});
}

const std::map<std::string, Operator>& operators() {
  static const std::map<std::string, Operator> table{
      {"attention",
       {3, 2,
        [](const Tensors& t, const Numbers& n) {
          return attention(t[0], t[1], t[2], n[0] != 0, backend(n[1]));
        }}},
      {"multi_head_attention",
       {3, 3,
        [](const Tensors& t, const Numbers& n) {
          return multi_head_attention(t[0], t[1], t[2], static_cast<int64_t>(n[0]), n[1] != 0, backend(n[2]));
        }}},
      // libtorch's operators, as the baseline of benchmarks.
      {"attention_libtorch",
       {3, 1,
        [](const Tensors& t, const Numbers& n) {
          return std::get<0>(
              at::_scaled_dot_product_flash_attention_for_cpu(t[0], t[1], t[2], 0.0, n[0] != 0));
        }}},
      {"matmul", {2, 0, [](const Tensors& t, const Numbers&) { return at::matmul(t[0], t[1]); }}},
      // x, weight, bias; the number of groups, epsilon
      {"group_norm",
       {3, 2,
        [](const Tensors& t, const Numbers& n) {
          return group_norm(t[0], static_cast<int64_t>(n[0]), t[1], t[2], n[1]);
        }}},
      {"group_norm_plain",
       {3, 2,
        [](const Tensors& t, const Numbers& n) {
          return group_norm_plain(t[0], static_cast<int64_t>(n[0]), t[1], t[2], n[1], false);
        }}},
      {"group_norm_silu",
       {3, 2,
        [](const Tensors& t, const Numbers& n) {
          return group_norm_silu(t[0], static_cast<int64_t>(n[0]), t[1], t[2], n[1]);
        }}},
      {"group_norm_silu_plain",
       {3, 2,
        [](const Tensors& t, const Numbers& n) {
          return group_norm_plain(t[0], static_cast<int64_t>(n[0]), t[1], t[2], n[1], true);
        }}},
      // x, weight, bias, shift
      {"group_norm_silu_shift",
       {4, 2,
        [](const Tensors& t, const Numbers& n) {
          return group_norm_silu(t[0], static_cast<int64_t>(n[0]), t[1], t[2], n[1], t[3]);
        }}},
      {"group_norm_silu_shift_plain",
       {4, 2,
        [](const Tensors& t, const Numbers& n) {
          return group_norm_plain(t[0], static_cast<int64_t>(n[0]), t[1], t[2], n[1], true, t[3]);
        }}},
      {"geglu", {1, 0, [](const Tensors& t, const Numbers&) { return geglu(t[0]); }}},
      {"geglu_plain", {1, 0, [](const Tensors& t, const Numbers&) { return geglu_plain(t[0]); }}},
      {"geglu_composed",
       {1, 0, [](const Tensors& t, const Numbers&) { return composed_geglu_forward(t[0]); }}},
      // dy, x
      {"geglu_composed_backward",
       {2, 0, [](const Tensors& t, const Numbers&) { return composed_geglu_backward(t[0], t[1]); }}},
      // x, weight, bias, addend; stride, padding
      {"int8_conv2d",
       {4, 2,
        [](const Tensors& t, const Numbers& n) {
          const Conv2dGeometry geometry{static_cast<int64_t>(n[0]), static_cast<int64_t>(n[1])};
          const Int8Weight weight = quantize_weight(t[1]);
          const at::Tensor packed = pack_int8_conv2d(weight, t[0].sizes(), geometry);
          return int8_conv2d(t[0], packed, weight.scales, t[2], geometry, t[3]);
        }}},
      {"int8_conv2d_plain",
       {4, 2,
        [](const Tensors& t, const Numbers& n) {
          return int8_conv2d_plain(t[0], t[1], t[2], {static_cast<int64_t>(n[0]), static_cast<int64_t>(n[1])},
                                   t[3]);
        }}},
      // x, weight, bias, addend
      {"int8_linear",
       {4, 0,
        [](const Tensors& t, const Numbers&) {
          const Int8Weight weight = quantize_weight(t[1]);
          const at::Tensor packed = pack_int8_linear(weight, t[0].size(0));
          return int8_linear(t[0], packed, weight.scales, t[2], t[3]);
        }}},
      {"int8_linear_plain",
       {4, 0, [](const Tensors& t, const Numbers&) { return int8_linear_plain(t[0], t[1], t[2], t[3]); }}},
      // x, weight, bias, addend; a 3×3 kernel of stride 1 and padding 1
      {"winograd_conv2d",
       {4, 0,
        [](const Tensors& t, const Numbers&) {
          return winograd_conv2d(t[0], pack_columns(t[1]), t[1].size(0), t[2], t[3]);
        }}},
      {"winograd_conv2d_plain",
       {4, 0,
        [](const Tensors& t, const Numbers&) {
          return at::conv2d(t[0], t[1].to(t[0].scalar_type()), t[2].to(t[0].scalar_type()), 1, 1) + t[3];
        }}},
      {"unpacked_columns",
       {1, 0,
        [](const Tensors& t, const Numbers&) { return unpack_columns(pack_columns(t[0]), t[0].sizes()); }}},
      {"adamw", {5, 4, [](const Tensors& t, const Numbers& n) { return adamw_step(t, n, false); }}},
      {"adamw_plain", {5, 4, [](const Tensors& t, const Numbers& n) { return adamw_step(t, n, true); }}},
      // seed, parameter, step, first element
      {"stochastic_rounding",
       {1, 4, [](const Tensors& t, const Numbers& n) { return stochastically_rounded(t[0], n); }}},
      {"compensated_rounding",
       {1, 0, [](const Tensors& t, const Numbers&) { return rounded_with_remainder(t[0]); }}},
      // x, weight in half precision, bias, addend
      {"half_weight_linear",
       {4, 0, [](const Tensors& t, const Numbers&) { return half_weight_linear(t[0], t[1], t[2], t[3]); }}},
      {"half_weight_linear_plain",
       {4, 0,
        [](const Tensors& t, const Numbers&) {
          return at::linear(t[0], t[1].to(t[0].scalar_type()), t[2].to(t[0].scalar_type())) + t[3];
        }}},
      {"half_product",
       {4, 0,
        [](const Tensors& t, const Numbers&) {
          return half_product(t[0], pack_columns(t[1]), t[1].size(0), t[2], t[3]);
        }}},
      {"half_product_plain",
       {4, 0,
        [](const Tensors& t, const Numbers&) {
          return at::linear(t[0], t[1].to(t[0].scalar_type()), t[2].to(t[0].scalar_type())) + t[3];
        }}},
      // the same; stride, padding
      {"half_weight_conv2d",
       {4, 2,
        [](const Tensors& t, const Numbers& n) {
          return half_weight_conv2d(t[0], t[1], t[2],
                                    {static_cast<int64_t>(n[0]), static_cast<int64_t>(n[1])}, t[3]);
        }}},
      {"half_weight_conv2d_plain",
       {4, 2,
        [](const Tensors& t, const Numbers& n) {
          return at::conv2d(t[0], t[1].to(t[0].scalar_type()), t[2].to(t[0].scalar_type()),
                            static_cast<int64_t>(n[0]), static_cast<int64_t>(n[1])) +
                 t[3];
        }}},
      // x, weight, bias
      {"widened_linear",
       {3, 0, [](const Tensors& t, const Numbers&) { return linear_product(t[0], t[1], t[2]); }}},
      // x, weight, bias; stride, padding
      {"widened_conv2d",
       {3, 2,
        [](const Tensors& t, const Numbers& n) {
          return conv2d_product(t[0], t[1], t[2], {static_cast<int64_t>(n[0]), static_cast<int64_t>(n[1])});
        }}},
      {"linear", {3, 0, [](const Tensors& t, const Numbers&) { return at::linear(t[0], t[1], t[2]); }}},
      {"conv2d",
       {3, 2,
        [](const Tensors& t, const Numbers& n) {
          return at::conv2d(t[0], t[1], t[2], static_cast<int64_t>(n[0]), static_cast<int64_t>(n[1]));
        }}},
      // [B,C,...] channels-last, and whether the layout is.
      {"channels_last",
       {1, 0,
        [](const Tensors& t, const Numbers&) { return t[0].movedim(1, -1).contiguous().movedim(-1, 1); }}},
      {"is_channels_last",
       {1, 0,
        [](const Tensors& t, const Numbers&) {
          return at::full({}, t[0].movedim(1, -1).is_contiguous() ? 1.0 : 0.0);
        }}},
  };
  return table;
}

/// The output and, if its gradient is given, the gradients of all tensors.
Tensors run(const Operator& op, const Tensors& inputs, const Numbers& numbers,
            const at::Tensor& output_gradient) {
  const bool backward = output_gradient.defined();
  const c10::AutoGradMode gradients(backward);
  Tensors leaves;
  for (const at::Tensor& input : inputs)
    leaves.push_back(backward ? input.detach().set_requires_grad(true) : input);
  const at::Tensor output = op.call(leaves, numbers);
  Tensors results{output.detach()};
  if (!backward) return results;
  if (!output_gradient.sizes().equals(output.sizes()))
    throw Error("ERR_INVALID_ARGUMENT", "the gradient differs in shape from the output");
  for (at::Tensor& gradient : torch::autograd::grad({output}, leaves, {output_gradient}))
    results.push_back(std::move(gradient));
  return results;
}

struct OperatorCall {
  Operator op;
  Tensors inputs;
  Numbers numbers;

  explicit OperatorCall(const Info& info) {
    const std::string name = string_argument(info[0], "name");
    const auto found = operators().find(name);
    if (found == operators().end()) throw Error("ERR_INVALID_ARGUMENT", "unknown operator \"" + name + "\"");
    op = found->second;
    inputs = tensors_argument(info[1], "tensors");
    numbers = numbers_argument(info[2], "numbers");
    if (inputs.size() != op.tensors || numbers.size() != op.numbers)
      throw Error("ERR_INVALID_ARGUMENT", name + " takes " + std::to_string(op.tensors) + " tensors and " +
                                              std::to_string(op.numbers) + " numbers");
  }
};

/// callOperator(name, tensors, numbers, gradient of the output or null): the output, and the inputs'
/// gradients
Napi::Value call_operator(const Info& info) {
  const OperatorCall call(info);
  const at::Tensor gradient = info[3].IsNull() ? at::Tensor() : TensorObject::get(info[3]);
  return submit(info.Env(), call.inputs[0].device(), [call, gradient]() -> Finish {
    const Tensors results = run(call.op, call.inputs, call.numbers, gradient);
    return [results](Napi::Env js) {
      const Napi::Array all = Napi::Array::New(js, results.size());
      for (size_t i = 0; i < results.size(); ++i)
        all.Set(static_cast<uint32_t>(i), TensorObject::make(js, results[i]));
      return all;
    };
  });
}

/// replayOperator(name, tensors, numbers): the output of the operator after recording it as a CUDA graph and
/// replaying it
Napi::Value replay_operator(const Info& info) {
  const OperatorCall call(info);
  const c10::Device device = call.inputs[0].device();
  if (!device.is_cuda())
    throw Error("ERR_CUDA_UNAVAILABLE", "only operators on a CUDA device can be replayed");
  return submit_tensor(info.Env(), device, [call, device] {
    at::Tensor output;
    const auto graph =
        require_cuda_library().record(device, [&] { output = call.op.call(call.inputs, call.numbers); });
    graph->replay();
    return output.clone();  // the original is in the graph's memory
  });
}

}  // namespace

void register_operators(Napi::Env env, Napi::Object exports) {
  export_function<call_operator>(env, exports, "callOperator");
  export_function<replay_operator>(env, exports, "replayOperator");
}

}  // namespace ip2p

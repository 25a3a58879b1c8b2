#include "nn/widened_product.h"

#include <ATen/autocast_mode.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/convolution_backward.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/matmul.h>
#include <torch/csrc/autograd/custom_function.h>

#include "kernels/half_weights.h"
#include "kernels/onednn.h"
#include "nn/autocast.h"

namespace ip2p {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

at::Tensor widened(const at::Tensor& x) {
  return x.to(at::kFloat);
}

std::optional<at::Tensor> widened_if_any(const std::optional<at::Tensor>& x) {
  return x ? std::optional(widened(*x)) : std::nullopt;
}

/// [...,n] → [rows,n]
at::Tensor rows_of(const at::Tensor& x) {
  return x.reshape({-1, x.size(-1)});
}

AutocastScope without_autocast(const at::Tensor& x) {
  return AutocastScope({x.device().type(), false, at::kBFloat16});
}

struct WidenedLinear : torch::autograd::Function<WidenedLinear> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight,
                            const std::optional<at::Tensor>& bias) {
    const AutocastScope plain = without_autocast(x);
    context->save_for_backward({x, weight, bias.value_or(at::Tensor())});
    return at::linear(widened(x), widened(weight), widened_if_any(bias)).to(x.scalar_type());
  }

  static variable_list backward(AutogradContext* context, const variable_list& output_gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &x = saved[0], &weight = saved[1], &bias = saved[2];
    const AutocastScope plain = without_autocast(x);
    const at::Tensor gradient = widened(output_gradients[0]);
    variable_list result(3);
    if (context->needs_input_grad(0)) result[0] = at::matmul(gradient, widened(weight)).to(x.scalar_type());
    if (context->needs_input_grad(1))
      result[1] = at::matmul(rows_of(gradient).t(), rows_of(widened(x))).to(weight.scalar_type());
    if (bias.defined() && context->needs_input_grad(2))
      result[2] = rows_of(gradient).sum(0).to(bias.scalar_type());
    return result;
  }
};

struct WidenedConv2d : torch::autograd::Function<WidenedConv2d> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight,
                            const std::optional<at::Tensor>& bias, int64_t stride, int64_t padding) {
    const AutocastScope plain = without_autocast(x);
    context->save_for_backward({x, weight, bias.value_or(at::Tensor())});
    context->saved_data["stride"] = stride;
    context->saved_data["padding"] = padding;
    return at::conv2d(widened(x), widened(weight), widened_if_any(bias), stride, padding).to(x.scalar_type());
  }

  static variable_list backward(AutogradContext* context, const variable_list& output_gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &x = saved[0], &weight = saved[1], &bias = saved[2];
    const AutocastScope plain = without_autocast(x);
    const at::OptionalIntArrayRef bias_sizes =
        bias.defined() ? at::OptionalIntArrayRef(bias.sizes()) : std::nullopt;
    const auto [dx, dweight, dbias] =
        at::convolution_backward(widened(output_gradients[0]), widened(x), widened(weight), bias_sizes,
                                 both(context->saved_data["stride"].toInt()),
                                 both(context->saved_data["padding"].toInt()), both(1), false, both(0), 1,
                                 {context->needs_input_grad(0), context->needs_input_grad(1),
                                  bias.defined() && context->needs_input_grad(2)});
    const auto as = [](const at::Tensor& gradient, const at::Tensor& of) {
      return gradient.defined() ? gradient.to(of.scalar_type()) : gradient;
    };
    return {as(dx, x), as(dweight, weight), as(dbias, bias), at::Tensor(), at::Tensor()};
  }
};

/// As autocast rounds an input, where it is on. Weights are not rounded: that would cost a pass over all of
/// them and gain nothing.
at::Tensor rounded(const at::Tensor& x) {
  const c10::DeviceType device = x.device().type();
  return at::autocast::is_autocast_enabled(device) ? x.to(at::autocast::get_autocast_dtype(device)) : x;
}

}  // namespace

bool widens(const at::Tensor& x, c10::ScalarType weight) {
  const c10::DeviceType device = x.device().type();
  if (!at::autocast::is_autocast_enabled(device))
    return weight == at::kBFloat16 && x.scalar_type() == at::kFloat;
  const c10::ScalarType type = at::autocast::get_autocast_dtype(device);
  return (weight == type || weight == at::kFloat) && arithmetic_type(type, x.device()) != type;
}

at::Tensor linear_product(const at::Tensor& x, const at::Tensor& weight,
                          const std::optional<at::Tensor>& bias) {
  return widens(x, weight.scalar_type()) ? WidenedLinear::apply(rounded(x), weight, bias)
                                         : at::linear(x, weight, bias);
}

at::Tensor conv2d_product(const at::Tensor& x, const at::Tensor& weight,
                          const std::optional<at::Tensor>& bias, Conv2dGeometry geometry) {
  const auto [stride, padding] = geometry;
  return widens(x, weight.scalar_type()) ? WidenedConv2d::apply(rounded(x), weight, bias, stride, padding)
                                         : at::conv2d(x, weight, bias, stride, padding);
}

}  // namespace ip2p

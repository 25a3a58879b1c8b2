#include "nn/shadow_weight.h"

#include <torch/csrc/autograd/custom_function.h>

namespace ip2p {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct ShadowWeight : torch::autograd::Function<ShadowWeight> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& weight, const at::Tensor& copy) {
    context->saved_data["type"] = weight.scalar_type();
    // A separate tensor over the same memory, so that the copy itself gets no autograd history.
    return copy.variable_data();
  }

  static variable_list backward(AutogradContext* context, variable_list output_gradients) {
    return {output_gradients[0].to(context->saved_data["type"].toScalarType()), at::Tensor()};
  }
};

}  // namespace

at::Tensor shadow_weight(const at::Tensor& weight, const at::Tensor& copy) {
  return ShadowWeight::apply(weight, copy);
}

}  // namespace ip2p

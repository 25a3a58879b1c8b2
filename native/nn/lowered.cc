#include "nn/lowered.h"

#include <torch/csrc/autograd/custom_function.h>

namespace ip2p {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct Lowered : torch::autograd::Function<Lowered> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& weight, const at::Tensor& copy) {
    context->saved_data["type"] = weight.scalar_type();
    // A tensor of its own over the same memory: the copy itself stays without a history.
    return copy.variable_data();
  }

  static variable_list backward(AutogradContext* context, variable_list output_gradients) {
    return {output_gradients[0].to(context->saved_data["type"].toScalarType()), at::Tensor()};
  }
};

}  // namespace

at::Tensor lowered(const at::Tensor& weight, const at::Tensor& copy) {
  return Lowered::apply(weight, copy);
}

}  // namespace ip2p

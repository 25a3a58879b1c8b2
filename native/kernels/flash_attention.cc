#include "kernels/flash_attention.h"

#include <ATen/core/LegacyTypeDispatch.h>
#include <torch/csrc/autograd/autograd_not_implemented_fallback.h>
#include <torch/csrc/autograd/custom_function.h>

#include <tuple>

#include "kernels/registry.h"
#include "kernels/simd/instruction_set.h"

namespace ip2p {
namespace {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

using Forward = std::tuple<Tensor, Tensor>(const Tensor&, const Tensor&, const Tensor&, bool);
using Backward = std::tuple<Tensor, Tensor, Tensor>(const Tensor&, const Tensor&, const Tensor&,
                                                    const Tensor&, const Tensor&, const Tensor&, bool);

std::tuple<Tensor, Tensor> forward(const Tensor& q, const Tensor& k, const Tensor& v, bool causal) {
  static const auto op = own_operator<Forward>("flash_attention");
  return op.call(q, k, v, causal);
}

std::tuple<Tensor, Tensor, Tensor> backward(const Tensor& out_gradient, const Tensor& q, const Tensor& k,
                                            const Tensor& v, const Tensor& out, const Tensor& logsumexp,
                                            bool causal) {
  static const auto op = own_operator<Backward>("flash_attention_backward");
  return op.call(out_gradient, q, k, v, out, logsumexp, causal);
}

struct FlashAttention : torch::autograd::Function<FlashAttention> {
  static variable_list forward(AutogradContext* context, const Tensor& q, const Tensor& k, const Tensor& v,
                               bool causal) {
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    const auto [out, logsumexp] = ip2p::forward(q, k, v, causal);
    context->save_for_backward({q, k, v, out, logsumexp});
    context->saved_data["causal"] = causal;
    context->mark_non_differentiable({logsumexp});
    return {out, logsumexp};
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    auto [q, k, v] = ip2p::backward(gradients[0], saved[0], saved[1], saved[2], saved[3], saved[4],
                                    context->saved_data["causal"].toBool());
    return {q, k, v, Tensor()};
  }
};

std::tuple<Tensor, Tensor> differentiable(const Tensor& q, const Tensor& k, const Tensor& v, bool causal) {
  const variable_list results = FlashAttention::apply(q, k, v, causal);
  return {results[0], results[1]};
}

}  // namespace

// Saved for the backward pass: the output, and the logarithm of the sum of the exponentials of each query's
// scores, [B,H,Tq] in float32.
const Operators schemas([](torch::Library& library) {
  library.def("flash_attention(Tensor q, Tensor k, Tensor v, bool causal) -> (Tensor out, Tensor logsumexp)");
  library.def(
      "flash_attention_backward(Tensor out_gradient, Tensor q, Tensor k, Tensor v, Tensor out, "
      "Tensor logsumexp, bool causal) -> (Tensor q_gradient, Tensor k_gradient, Tensor v_gradient)");
});

const Operators derivatives(c10::DispatchKey::Autograd, [](torch::Library& library) {
  library.impl("flash_attention", differentiable);
  // Double backward throws an error that names the operator.
  library.impl("flash_attention_backward", torch::autograd::autogradNotImplementedFallback());
});

bool flash_attention_takes(const Tensor& q, const Tensor& k, const Tensor& v) {
  const at::ScalarType type = q.scalar_type();
  return instruction_set() != InstructionSet::None && q.is_cpu() && k.is_cpu() && v.is_cpu() &&
         (type == at::kBFloat16 || type == at::kFloat) && k.scalar_type() == type && v.scalar_type() == type;
}

Tensor flash_attention(const Tensor& q, const Tensor& k, const Tensor& v, bool causal) {
  return std::get<0>(forward(q, k, v, causal));
}

}  // namespace ip2p

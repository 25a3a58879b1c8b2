// GEGLU for every backend: schemas, autograd, and the fallback without a kernel. A backend implements
// ip2p::geglu_forward and ip2p::geglu_backward.
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/ops/gelu.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/custom_function.h>

#include "kernels/backend_kernel.h"
#include "kernels/ops.h"
#include "kernels/registry.h"

namespace ip2p {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;
using Forward = at::Tensor(const at::Tensor& x);
using Backward = at::Tensor(const at::Tensor& dy, const at::Tensor& x);

const c10::TypedOperatorHandle<Forward>& forward_operator() {
  static const auto op = own_operator<Forward>("geglu_forward");
  return op;
}

const c10::TypedOperatorHandle<Backward>& backward_operator() {
  static const auto op = own_operator<Backward>("geglu_backward");
  return op;
}

struct GegluFunction : torch::autograd::Function<GegluFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x) {
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    context->save_for_backward({x});
    return forward_operator().call(x);
  }

  static variable_list backward(AutogradContext* context, const variable_list& output_gradients) {
    return {backward_operator().call(output_gradients[0], context->get_saved_variables()[0])};
  }
};

bool kernel_takes(const at::Tensor& x) {
  return (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16) && x.dim() > 0 &&
         x.numel() > 0 && x.size(-1) % 2 == 0 && has_kernel_for(forward_operator(), x);
}

at::Tensor geglu_kernel(const at::Tensor& x) {
  if (!kernel_takes(x)) return geglu_plain(x);
  if (c10::GradMode::is_enabled() && x.requires_grad()) return GegluFunction::apply(x);
  const at::AutoDispatchBelowADInplaceOrView below_autograd;
  return forward_operator().call(x);
}

}  // namespace

const Operators schemas([](torch::Library& library) {
  library.def("geglu(Tensor x) -> Tensor", geglu_kernel);
  library.def("geglu_forward(Tensor x) -> Tensor");
  library.def("geglu_backward(Tensor dy, Tensor x) -> Tensor");
});

at::Tensor geglu_plain(const at::Tensor& x) {
  const auto halves = x.chunk(2, -1);
  return halves[0] * at::gelu(halves[1]);
}

at::Tensor geglu(const at::Tensor& x) {
  static const auto op = own_operator<Forward>("geglu");
  return op.call(x);
}

}  // namespace ip2p

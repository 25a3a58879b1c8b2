#include "kernels/ops.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/group_norm.h>
#include <ATen/ops/silu.h>
#include <torch/library.h>

namespace ip2p {
namespace {

at::Tensor group_norm_silu_kernel(const at::Tensor& x, int64_t groups, const at::Tensor& weight,
                                  const at::Tensor& bias, double eps) {
  return at::silu(at::group_norm(x, groups, weight, bias, eps));
}

at::Tensor geglu_kernel(const at::Tensor& x) {
  const auto halves = x.chunk(2, -1);
  return halves[0] * at::gelu(halves[1]);
}

}  // namespace

// Composite implementations: built from ATen operators, which bring every backend and their derivatives with
// them. A backend's own kernel registers itself beside them, with its derivative.
TORCH_LIBRARY(ip2p, library) {
  library.def("group_norm_silu(Tensor x, int groups, Tensor weight, Tensor bias, float eps) -> Tensor",
              group_norm_silu_kernel);
  library.def("geglu(Tensor x) -> Tensor", geglu_kernel);
}

at::Tensor group_norm_silu(const at::Tensor& x, int64_t groups, const at::Tensor& weight,
                           const at::Tensor& bias, double eps) {
  static const auto op =
      c10::Dispatcher::singleton()
          .findSchemaOrThrow("ip2p::group_norm_silu", "")
          .typed<at::Tensor(const at::Tensor&, int64_t, const at::Tensor&, const at::Tensor&, double)>();
  return op.call(x, groups, weight, bias, eps);
}

at::Tensor geglu(const at::Tensor& x) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("ip2p::geglu", "")
                             .typed<at::Tensor(const at::Tensor&)>();
  return op.call(x);
}

}  // namespace ip2p

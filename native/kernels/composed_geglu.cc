#include "kernels/composed_geglu.h"

#include <ATen/ops/empty_like.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/gelu_backward.h>
#include <ATen/ops/mul.h>

#include <cstdlib>
#include <string_view>

#include "kernels/registry.h"

namespace ip2p {

at::Tensor composed_geglu_forward(const at::Tensor& x) {
  const auto halves = x.chunk(2, -1);
  return at::gelu(halves[1]).mul_(halves[0]);
}

at::Tensor composed_geglu_backward(const at::Tensor& dy, const at::Tensor& x) {
  const auto halves = x.chunk(2, -1);
  const at::Tensor dx = at::empty_like(x, at::MemoryFormat::Contiguous);
  const auto gradients = dx.chunk(2, -1);
  at::Tensor da = gradients[0], db = gradients[1];
  at::mul_out(da, dy, at::gelu(halves[1]));
  at::gelu_backward_out(db, at::mul(dy, halves[0]), halves[1]);
  return dx;
}

// On CUDA the other operators need no kernel: the composite attention calls scaled_dot_product_attention,
// which selects one of libtorch's; and under autocast libtorch computes the group norm in float32, which a
// kernel registered here would bypass.
const Operators kernels(c10::DispatchKey::CUDA, [](torch::Library& library) {
  // Trades memory in training for one more gelu in the backward pass; not yet measured on a GPU, so it is
  // opt-in.
  const char* wanted = std::getenv("IP2P_CUDA_OPERATORS");
  if (wanted == nullptr || std::string_view(wanted) != "1") return;
  library.impl("geglu_forward", composed_geglu_forward);
  library.impl("geglu_backward", composed_geglu_backward);
});

}  // namespace ip2p

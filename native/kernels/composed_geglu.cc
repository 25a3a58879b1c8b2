#include "kernels/composed_geglu.h"

#include <ATen/ops/empty_like.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/gelu_backward.h>
#include <ATen/ops/mul.h>

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

}  // namespace ip2p

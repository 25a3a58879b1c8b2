#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/softmax.h>

#include <cmath>
#include <limits>

#include "kernels/flash_attention.h"
#include "kernels/ops.h"
#include "kernels/registry.h"

namespace ip2p {
namespace {

at::Tensor attention_math(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, bool causal) {
  at::Tensor scores = at::matmul(q, k.transpose(-2, -1)) / std::sqrt(static_cast<double>(q.size(-1)));
  if (causal) {
    const at::Tensor visible =
        at::ones({q.size(-2), k.size(-2)}, at::TensorOptions().dtype(at::kBool).device(q.device())).tril();
    scores = scores.masked_fill(visible.logical_not(), -std::numeric_limits<double>::infinity());
  }
  return at::matmul(at::softmax(scores, -1), v);
}

/// The flash kernels trust the query's sizes without checking the others, and divide by the number of keys.
void check_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
  TORCH_CHECK(q.dim() == 4 && k.dim() == 4 && v.dim() == 4 && k.sizes() == v.sizes() &&
                  q.size(0) == k.size(0) && q.size(1) == k.size(1) && q.size(3) == k.size(3) &&
                  q.numel() > 0 && k.numel() > 0,
              "the shapes of attention do not fit: queries ", q.sizes(), ", keys ", k.sizes(), " and values ",
              v.sizes());
}

at::Tensor attention_kernel(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, bool causal,
                            int64_t backend) {
  check_attention(q, k, v);
  if (static_cast<AttentionBackend>(backend) == AttentionBackend::Math)
    return attention_math(q, k, v, causal);
  if (flash_attention_takes(q, k, v)) return flash_attention(q, k, v, causal);
  // libtorch's flash kernel for CPUs works tile by tile in float32 whatever the input type. It is called by
  // name: the generic entry point materialises the score matrix for cases that the kernel handles.
  if (q.is_cpu()) return std::get<0>(at::_scaled_dot_product_flash_attention_for_cpu(q, k, v, 0.0, causal));
  return at::scaled_dot_product_attention(q, k, v, {}, 0.0, causal);
}

}  // namespace

const Operators schemas([](torch::Library& library) {
  library.def("attention(Tensor q, Tensor k, Tensor v, bool causal, int backend) -> Tensor",
              attention_kernel);
});

at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, bool causal,
                     AttentionBackend backend) {
  static const auto op =
      own_operator<at::Tensor(const at::Tensor&, const at::Tensor&, const at::Tensor&, bool, int64_t)>(
          "attention");
  return op.call(q, k, v, causal, static_cast<int64_t>(backend));
}

}  // namespace ip2p

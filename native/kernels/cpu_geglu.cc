// The fused GEGLU on the CPU: every element is read once and written once.
#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include <algorithm>

#include "kernels/registry.h"
#include "kernels/simd/geglu.h"

namespace ip2p {
namespace {

struct Rows {
  int64_t width, rows;
  bool bfloat16;

  explicit Rows(const at::Tensor& x)
      : width(x.size(-1) / 2), rows(x.numel() / x.size(-1)), bfloat16(x.scalar_type() == at::kBFloat16) {}

  /// `work(first, count)` on ranges of rows.
  template <class Work>
  void in_parallel(const Work& work) const {
    const int64_t grain = std::max<int64_t>(1, 16384 / width);
    at::parallel_for(0, rows, grain, [&](int64_t from, int64_t to) { work(from, to - from); });
  }
};

char* at_element(const at::Tensor& tensor, int64_t offset) {
  return static_cast<char*>(tensor.data_ptr()) + offset * static_cast<int64_t>(tensor.element_size());
}

at::Tensor geglu_forward(const at::Tensor& input) {
  const at::Tensor x = input.contiguous();
  const Rows rows(x);
  std::vector<int64_t> sizes = x.sizes().vec();
  sizes.back() = rows.width;
  const at::Tensor y = at::empty(sizes, x.options());
  const auto kernel = IP2P_SELECT_SIMD(geglu_rows);
  rows.in_parallel([&](int64_t first, int64_t count) {
    kernel(at_element(x, 2 * first * rows.width), rows.bfloat16, count, rows.width,
           at_element(y, first * rows.width));
  });
  return y;
}

at::Tensor geglu_backward(const at::Tensor& output_gradient, const at::Tensor& input) {
  const at::Tensor x = input.contiguous(), dy = output_gradient.contiguous();
  const Rows rows(x);
  const at::Tensor dx = at::empty_like(x);
  const auto kernel = IP2P_SELECT_SIMD(geglu_gradient_rows);
  rows.in_parallel([&](int64_t first, int64_t count) {
    kernel(at_element(x, 2 * first * rows.width), at_element(dy, first * rows.width), rows.bfloat16, count,
           rows.width, at_element(dx, 2 * first * rows.width));
  });
  return dx;
}

}  // namespace

const Operators kernels(c10::DispatchKey::CPU, [](torch::Library& library) {
  if (instruction_set() == InstructionSet::None) return;
  library.impl("geglu_forward", geglu_forward);
  library.impl("geglu_backward", geglu_backward);
});

}  // namespace ip2p

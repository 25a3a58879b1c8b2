#include "kernels/upsample_conv2d.h"

#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/stack.h>

namespace ip2p {
namespace {

/// Sums the three taps of a kernel along one axis into the two that an even (0) or odd (1) output row needs.
at::Tensor summed(const at::Tensor& weight, int64_t axis, int64_t parity) {
  const at::Tensor first = weight.select(axis, 0), middle = weight.select(axis, 1),
                   last = weight.select(axis, 2);
  return parity == 0 ? at::stack({first, middle + last}, axis) : at::stack({first + middle, last}, axis);
}

}  // namespace

std::vector<at::Tensor> upsample_phases(const at::Tensor& weight) {
  const at::Tensor exact = weight.to(at::kFloat);
  std::vector<at::Tensor> phases;
  for (const int64_t row : {0, 1})
    for (const int64_t column : {0, 1})
      phases.push_back(summed(summed(exact, 2, row), 3, column).to(weight.scalar_type()));
  return phases;
}

std::array<int64_t, 4> phase_input_sizes(const at::Tensor& x) {
  return {x.size(0), x.size(1), x.size(2) + 1, x.size(3) + 1};
}

at::Tensor upsample_conv2d(const at::Tensor& x,
                           const std::function<at::Tensor(const at::Tensor&, size_t)>& convolve) {
  const int64_t H = x.size(2), W = x.size(3);
  const auto layout = x.suggest_memory_format();
  const at::Tensor padded = at::constant_pad_nd(x, {1, 1, 1, 1});
  at::Tensor result;
  for (const int64_t row : {0, 1})
    for (const int64_t column : {0, 1}) {
      const at::Tensor part = padded.narrow(2, row, H + 1).narrow(3, column, W + 1).contiguous(layout);
      const at::Tensor phase = convolve(part, static_cast<size_t>(2 * row + column));
      if (!result.defined())
        result = at::empty({phase.size(0), phase.size(1), 2 * H, 2 * W}, phase.options(),
                           phase.suggest_memory_format());
      result.slice(2, row, std::nullopt, 2).slice(3, column, std::nullopt, 2).copy_(phase);
    }
  return result;
}

}  // namespace ip2p

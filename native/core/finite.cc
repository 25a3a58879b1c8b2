#include "core/finite.h"

#include <ATen/Parallel.h>
#include <ATen/ops/aminmax.h>
#include <ATen/ops/isfinite.h>

#include <algorithm>
#include <atomic>
#include <cstdint>

namespace ip2p {
namespace {

/// Elements checked between two looks at the shared result.
constexpr int64_t BLOCK = 1 << 14;
constexpr int64_t GRAIN = 1 << 18;

/// NaN and the infinities, and nothing else, have every bit of the exponent set. Compared as integers, which
/// the compiler vectorises for every element type and instruction set.
template <class Bits>
bool finite_block(const Bits* bits, int64_t count, Bits exponent) {
  Bits found = 0;
  for (int64_t i = 0; i < count; ++i) found |= static_cast<Bits>((bits[i] & exponent) == exponent);
  return found == 0;
}

template <class Bits>
bool finite_bits(const at::Tensor& tensor, Bits exponent) {
  const auto* const bits = static_cast<const Bits*>(tensor.const_data_ptr());
  std::atomic<bool> finite{true};
  at::parallel_for(0, tensor.numel(), GRAIN, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end && finite.load(std::memory_order_relaxed); i += BLOCK)
      if (!finite_block(bits + i, std::min(BLOCK, end - i), exponent)) finite = false;
  });
  return finite;
}

}  // namespace

bool all_finite(const at::Tensor& tensor) {
  if (!tensor.is_floating_point() || tensor.numel() == 0) return true;
  if (!tensor.is_cpu()) {
    // Minimum and maximum; NaN propagates to both.
    const auto [low, high] = at::aminmax(tensor);
    return at::isfinite(low).logical_and(at::isfinite(high)).item<bool>();
  }
  // The order of the elements does not matter, so only gaps and repetitions need a copy.
  const at::Tensor dense = tensor.is_non_overlapping_and_dense() ? tensor : tensor.contiguous();
  switch (dense.scalar_type()) {
    case at::kDouble:
      return finite_bits<uint64_t>(dense, 0x7ff0000000000000);
    case at::kFloat:
      return finite_bits<uint32_t>(dense, 0x7f800000);
    case at::kBFloat16:
      return finite_bits<uint16_t>(dense, 0x7f80);
    case at::kHalf:
      return finite_bits<uint16_t>(dense, 0x7c00);
    default:
      return at::isfinite(dense).all().item<bool>();
  }
}

}  // namespace ip2p

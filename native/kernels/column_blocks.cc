#include "kernels/column_blocks.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

#include "kernels/simd/column_blocks.h"

namespace ip2p {
namespace {

ColumnBlocks::Type stored_type(c10::ScalarType type) {
  switch (type) {
    case at::kBFloat16:
      return ColumnBlocks::Type::BFloat16;
    case at::kHalf:
      return ColumnBlocks::Type::Float16;
    default:
      return ColumnBlocks::Type::Float32;
  }
}

/// Calls f(block) for every block, by all threads.
template <class F>
void for_blocks(int64_t outputs, const F& f) {
  at::parallel_for(0, IP2P_SELECT_SIMD(column_blocks)(outputs), 1, [&](int64_t from, int64_t to) {
    for (int64_t block = from; block < to; ++block) f(block);
  });
}

}  // namespace

at::Tensor pack_columns(const at::Tensor& weight) {
  const at::Tensor plain = weight.contiguous();
  const int64_t outputs = plain.size(0), numbers = plain.numel() / outputs;
  const int bytes = static_cast<int>(plain.element_size());
  // Whole vectors have at most 16 numbers.
  const at::Tensor packed = at::empty({(outputs + 15) / 16 * 16 * numbers}, plain.options());
  const auto pack = IP2P_SELECT_SIMD(pack_columns);
  for_blocks(outputs, [&](int64_t block) {
    pack(plain.const_data_ptr(), bytes, outputs, numbers, block, packed.mutable_data_ptr());
  });
  return packed;
}

at::Tensor unpack_columns(const at::Tensor& packed, at::IntArrayRef weight_sizes) {
  const at::Tensor plain = at::empty(weight_sizes, packed.options());
  const int64_t outputs = plain.size(0), numbers = plain.numel() / outputs;
  const int bytes = static_cast<int>(plain.element_size());
  const auto unpack = IP2P_SELECT_SIMD(unpack_columns);
  for_blocks(outputs, [&](int64_t block) {
    unpack(packed.const_data_ptr(), bytes, outputs, numbers, block, plain.mutable_data_ptr());
  });
  return plain;
}

ColumnBlocks column_blocks(const at::Tensor& packed) {
  return {stored_type(packed.scalar_type()), packed.const_data_ptr()};
}

}  // namespace ip2p

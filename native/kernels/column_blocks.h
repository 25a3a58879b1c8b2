#pragma once

#include <ATen/core/Tensor.h>

namespace ip2p {

// Weights in the order in which this package's own products read them: see kernels/simd/column_blocks.h. They
// keep their type. Processors without any of the
// instruction sets have none.

struct ColumnBlocks;

/// Weight [O,...] to its packed form, and back, bit for bit.
at::Tensor pack_columns(const at::Tensor& weight);
at::Tensor unpack_columns(const at::Tensor& packed, at::IntArrayRef weight_sizes);

/// The packed form for the kernels. The tensor must outlive it.
ColumnBlocks column_blocks(const at::Tensor& packed);

}  // namespace ip2p

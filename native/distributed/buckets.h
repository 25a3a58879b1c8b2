#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

namespace ip2p {

/// DDP's assignment of tensors to buckets, each of one type. At first, before the order is known in which
/// backward fills them, all tensors of a type are one bucket.
std::vector<std::vector<size_t>> first_buckets(const std::vector<at::Tensor>& tensors);

/// The assignment from then on: a first bucket of 1 MiB, so that the exchange starts early, then of 25 MiB.
/// @param order the tensors' numbers
std::vector<std::vector<size_t>> assign_buckets(const std::vector<at::Tensor>& tensors,
                                                const std::vector<size_t>& order);

/// The part of a flat tensor from `offset` on that has a tensor's shape, and where possible the order of its
/// memory.
inline at::Tensor part_like(const at::Tensor& tensor, const at::Tensor& flat, int64_t offset) {
  return tensor.is_non_overlapping_and_dense() ? flat.as_strided(tensor.sizes(), tensor.strides(), offset)
                                               : flat.narrow(0, offset, tensor.numel()).view(tensor.sizes());
}

}  // namespace ip2p

#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

namespace ip2p {

/// DDP's assignment of tensors to buckets: a first one of 1 MiB, so that the exchange starts early, then of
/// 25 MiB; each of one type. `order`: the numbers of the tensors, if they are not 0, 1, …
std::vector<std::vector<size_t>> assign_buckets(const std::vector<at::Tensor>& tensors,
                                                const std::vector<size_t>& order);

}  // namespace ip2p

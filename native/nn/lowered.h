#pragma once

#include <ATen/core/Tensor.h>

namespace ip2p {

/// `copy`, which holds the numbers of `weight` in lower precision, in its place: as weight.to(copy's type),
/// derivative included, without the work.
at::Tensor lowered(const at::Tensor& weight, const at::Tensor& copy);

}  // namespace ip2p

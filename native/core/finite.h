#pragma once

#include <ATen/core/Tensor.h>

namespace ip2p {

/// Whether no element is NaN or infinite; true for integers and for no elements at all. Allocates no tensor
/// of the input's size, stops at the first block with such an element, and may run on any thread, also inside
/// at::parallel_for.
bool all_finite(const at::Tensor& tensor);

}  // namespace ip2p

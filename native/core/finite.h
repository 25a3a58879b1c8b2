#pragma once

#include <ATen/core/Tensor.h>

namespace ip2p {

/// Whether no element is NaN or infinite; true for integers and for no elements at all. Makes no tensor of the
/// input's size, stops at the first block that holds one, and may run on any thread, inside at::parallel_for
/// too.
bool all_finite(const at::Tensor& tensor);

}  // namespace ip2p

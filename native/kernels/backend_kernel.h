#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>

namespace ip2p {

/// Whether an operator has a kernel for the device of x.
inline bool has_kernel_for(const c10::OperatorHandle& op, const at::Tensor& x) {
  return op.hasKernelForDispatchKey(c10::legacyExtractDispatchKey(x.key_set()));
}

}  // namespace ip2p

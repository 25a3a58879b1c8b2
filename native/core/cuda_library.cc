#include "core/cuda_library.h"

#include <ATen/core/dispatch/Dispatcher.h>

#include "core/error.h"

namespace ip2p {

const CudaLibrary* cuda_library() {
  // Registered when the library was opened, which is before the addon, if at all.
  const auto op = c10::Dispatcher::singleton().findSchema({kCudaOperator, ""});
  if (!op) return nullptr;
  return reinterpret_cast<const CudaLibrary*>(op->typed<int64_t()>().call());
}

const CudaLibrary& require_cuda_library() {
  if (const CudaLibrary* library = cuda_library()) return *library;
  throw Error("ERR_CUDA_UNAVAILABLE", "this package's CUDA library is not loaded; `ip2p doctor` says why");
}

}  // namespace ip2p

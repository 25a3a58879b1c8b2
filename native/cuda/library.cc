// Code that needs CUDA's headers: a separate shared library (ip2p_cuda), opened after libtorch's CUDA
// libraries. It throws only libtorch's errors, since the addon's error types belong to another library.
#include <ATen/core/dispatch/Dispatcher.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAGuard.h>
#include <cuda_runtime_api.h>
#include <torch/library.h>

#include "core/cuda_library.h"
#include "cuda/graph.h"
#include "cuda/nccl_group.h"

namespace ip2p {
namespace {

/// Clears CUDA's last error, which the next check would report again.
int forgotten_error() {
  static_cast<void>(cudaGetLastError());
  return 0;
}

class Library final : public CudaLibrary {
 public:
  int driver_version() const override {
    int version = 0;
    return cudaDriverGetVersion(&version) == cudaSuccess ? version : forgotten_error();
  }

  int runtime_version() const override {
    int version = 0;
    return cudaRuntimeGetVersion(&version) == cudaSuccess ? version : forgotten_error();
  }

  CudaProperties properties(c10::Device device) const override {
    c10::cuda::device_count_ensure_non_zero();
    cudaDeviceProp found;
    C10_CUDA_CHECK(cudaGetDeviceProperties(&found, device.index()));
    return {found.name, found.major, found.minor, static_cast<int64_t>(found.totalGlobalMem),
            found.multiProcessorCount};
  }

  std::pair<int64_t, int64_t> free_and_total_memory(c10::Device device) const override {
    c10::cuda::device_count_ensure_non_zero();
    const c10::cuda::CUDAGuard guard(device);
    size_t free = 0, total = 0;
    C10_CUDA_CHECK(cudaMemGetInfo(&free, &total));
    return {static_cast<int64_t>(free), static_cast<int64_t>(total)};
  }

  void synchronize(c10::Device device) const override {
    c10::cuda::device_count_ensure_non_zero();
    const c10::cuda::CUDAGuard guard(device);
    c10::cuda::device_synchronize();
  }

  std::unique_ptr<CudaGraph> record(c10::Device device, const std::function<void()>& work) const override {
    c10::cuda::device_count_ensure_non_zero();
    return record_graph(device, work);
  }

  std::shared_ptr<ProcessGroup> nccl_group(c10d::Store& store, const GroupOptions& options) const override {
    c10::cuda::device_count_ensure_non_zero();
    return make_nccl_group(store, options);
  }
};

int64_t address() {
  static const Library library;
  return reinterpret_cast<int64_t>(static_cast<const CudaLibrary*>(&library));
}

/// Another copy of the package may have opened its library before; defining an operator twice would end the
/// process.
const bool is_first = [] {
  if (c10::Dispatcher::singleton().findSchema({kCudaOperator, ""})) return false;
  // Leaked: its destructor would take the operator away while libtorch's own are running.
  auto* const operators =
      new torch::Library(torch::Library::FRAGMENT, kCudaNamespace, std::nullopt, __FILE__, __LINE__);
  operators->def(kCudaSchema, address);
  return true;
}();

}  // namespace

}  // namespace ip2p

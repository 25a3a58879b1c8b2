#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>

namespace c10d {
class Store;
}

namespace ip2p {

class ProcessGroup;
struct GroupOptions;

// The addon is the same for every libtorch and includes no CUDA header. Code that needs one is in a separate
// library (native/cuda/), loaded only with a CUDA libtorch and called through this interface.

/// Properties of a GPU.
struct CudaProperties {
  std::string name;
  int major, minor;  ///< compute capability
  int64_t memory;    ///< bytes
  int multiprocessors;
};

/// Work recorded once, with its kernels and the addresses of its tensors, to be launched again as one.
class CudaGraph {
 public:
  virtual ~CudaGraph() = default;
  /// Queues the recorded work on the current stream.
  virtual void replay() = 0;
};

class CudaLibrary {
 public:
  /// CUDA's version numbers: 13000 is 13.0. The driver's is the newest CUDA it supports. 0 if unknown, as
  /// without a driver.
  virtual int driver_version() const = 0;
  virtual int runtime_version() const = 0;

  virtual CudaProperties properties(c10::Device device) const = 0;

  /// Free and total bytes of the device.
  virtual std::pair<int64_t, int64_t> free_and_total_memory(c10::Device device) const = 0;

  /// Waits for all work queued on the device.
  virtual void synchronize(c10::Device device) const = 0;

  /// Runs `work` twice on a separate stream, to warm up libraries, then records it. Its tensors, inputs and
  /// outputs, must live as long as the graph; it may neither wait for the device nor depend on what it
  /// computes.
  virtual std::unique_ptr<CudaGraph> record(c10::Device device, const std::function<void()>& work) const = 0;

  /// Connects the processes over NCCL, for tensors on the device of this one. The store is shared, not
  /// copied.
  virtual std::shared_ptr<ProcessGroup> nccl_group(c10d::Store& store, const GroupOptions& options) const = 0;

 protected:
  ~CudaLibrary() = default;
};

/// The operator that returns the library's address. Its number rises with every change of the interface, so
/// that a library of another build is not called. Several copies of this package in a process share the
/// library opened first.
inline constexpr const char* kCudaNamespace = "ip2p_cuda";
inline constexpr const char* kCudaOperator = "ip2p_cuda::library_3";
inline constexpr const char* kCudaSchema = "library_3() -> int";

/// Null if none with this interface version is loaded.
const CudaLibrary* cuda_library();

/// @throws ERR_CUDA_UNAVAILABLE where there is none
const CudaLibrary& require_cuda_library();

}  // namespace ip2p

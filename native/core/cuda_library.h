#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>

namespace ip2p {

// The addon is the same for every libtorch and includes no CUDA header. What needs one lives in a library of
// its own (native/cuda/), which is loaded beside a CUDA libtorch only; the two meet in this interface.

/// What a GPU says of itself.
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
  /// As CUDA counts: 13000 is 13.0. The driver's is the newest CUDA it can serve. 0 where it is not known, as
  /// without a driver.
  virtual int driver_version() const = 0;
  virtual int runtime_version() const = 0;

  virtual CudaProperties properties(c10::Device device) const = 0;

  /// Bytes that no program holds, of those the device has.
  virtual std::pair<int64_t, int64_t> free_and_total_memory(c10::Device device) const = 0;

  /// Waits until everything that was queued on the device is done.
  virtual void synchronize(c10::Device device) const = 0;

  /// Runs `work` twice on a stream of its own, so that libraries are set up, then records it. Its tensors,
  /// inputs and outputs, must live as long as the graph; it may neither wait for the device nor depend on
  /// what it computes.
  virtual std::unique_ptr<CudaGraph> record(c10::Device device, const std::function<void()>& work) const = 0;

 protected:
  ~CudaLibrary() = default;
};

/// The operator by which the library tells its address. The number is counted up with every change of the
/// interface, so that a library of another build is not called. Several copies of this package in a process
/// use the one that was opened first.
inline constexpr const char* kCudaNamespace = "ip2p_cuda";
inline constexpr const char* kCudaOperator = "ip2p_cuda::library_2";
inline constexpr const char* kCudaSchema = "library_2() -> int";

/// Null where none is loaded, or none of this version of the interface.
const CudaLibrary* cuda_library();

/// @throws ERR_CUDA_UNAVAILABLE where there is none
const CudaLibrary& require_cuda_library();

}  // namespace ip2p

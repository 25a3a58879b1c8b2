#pragma once

#include <ATen/core/Tensor.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "distributed/store.h"

namespace ip2p {

/// An operation of all processes that is under way.
class Collective {
 public:
  virtual ~Collective() = default;
  /// Returns when it is done. ERR_DISTRIBUTED if it failed, after which the group is of no more use;
  /// ERR_ABORTED if the running job is cancelled.
  virtual void wait() = 0;
};

struct GroupOptions {
  std::string name;  ///< tells the groups of one store apart
  int rank = 0, size = 1;
  std::chrono::milliseconds timeout{0};  ///< of an operation
  c10::Device device = c10::kCPU;        ///< where this process computes
};

/// The processes that train together. All of them call the same operations in the same order.
class ProcessGroup {
 public:
  /// Connects all with all: over Gloo for tensors on the CPU, and over NCCL for those on a CUDA device, if
  /// this process computes on one. ERR_DISTRIBUTED, ERR_CUDA_UNAVAILABLE
  static std::shared_ptr<ProcessGroup> connect(const Store& store, const GroupOptions& options);
  virtual ~ProcessGroup() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;

  /// Begins to replace the tensor by the sum over all processes. It must be dense.
  virtual std::unique_ptr<Collective> all_reduce(const at::Tensor& tensor) = 0;
  /// Begins to replace the tensor by that of one process. It must be dense.
  virtual std::unique_ptr<Collective> broadcast(const at::Tensor& tensor, int root) = 0;

  /// Replaces tensors of any strides by those of rank 0.
  void broadcast_all(const std::vector<at::Tensor>& tensors);
};

}  // namespace ip2p

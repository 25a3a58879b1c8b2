#include "cuda/nccl_group.h"

#include <c10/util/Exception.h>

#if defined(USE_C10D_NCCL)

#include <c10/cuda/CUDAGuard.h>
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>

#include <utility>

namespace ip2p {
namespace {

/// An operation on NCCL's stream. Waiting for it makes the current stream wait, not the host; a failure ends
/// at the time-out, by NCCL's own watchdog.
class NcclCollective : public Collective {
 public:
  explicit NcclCollective(c10::intrusive_ptr<c10d::Work> work) : work_(std::move(work)) {}
  void wait() override { work_->wait(); }

 private:
  c10::intrusive_ptr<c10d::Work> work_;
};

class NcclGroup : public ProcessGroup {
 public:
  NcclGroup(c10d::Store& store, const GroupOptions& options)
      : rank_(options.rank), size_(options.size), device_(options.device) {
    const c10::cuda::CUDAGuard guard(device_);
    auto given = c10d::ProcessGroupNCCL::Options::create();
    given->timeout = options.timeout;
    group_ = c10::make_intrusive<c10d::ProcessGroupNCCL>(
        c10::intrusive_ptr<c10d::Store>::reclaim_copy(&store), rank_, size_, std::move(given));
  }

  int rank() const override { return rank_; }
  int size() const override { return size_; }

  std::unique_ptr<Collective> all_reduce(const at::Tensor& tensor) override {
    const c10::cuda::CUDAGuard guard(device_);
    std::vector<at::Tensor> tensors{tensor};
    return std::make_unique<NcclCollective>(group_->allreduce(tensors));
  }

  std::unique_ptr<Collective> broadcast(const at::Tensor& tensor, int root) override {
    const c10::cuda::CUDAGuard guard(device_);
    std::vector<at::Tensor> tensors{tensor};
    c10d::BroadcastOptions options;
    options.rootRank = root;
    return std::make_unique<NcclCollective>(group_->broadcast(tensors, options));
  }

 private:
  int rank_, size_;
  c10::Device device_;
  c10::intrusive_ptr<c10d::ProcessGroupNCCL> group_;
};

}  // namespace

std::shared_ptr<ProcessGroup> make_nccl_group(c10d::Store& store, const GroupOptions& options) {
  return std::make_shared<NcclGroup>(store, options);
}

}  // namespace ip2p

#else

namespace ip2p {

std::shared_ptr<ProcessGroup> make_nccl_group(c10d::Store&, const GroupOptions&) {
  TORCH_CHECK(false, "this build of the CUDA library is without NCCL");
}

}  // namespace ip2p

#endif

#include "cuda/graph.h"

#include <ATen/cuda/CUDAGraph.h>
#include <c10/core/Event.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <exception>

namespace ip2p {
namespace {

/// Makes work queued on `second` from now on wait for the work on `first`.
void follow(const c10::cuda::CUDAStream& first, const c10::cuda::CUDAStream& second) {
  c10::Event event(c10::kCUDA);
  event.record(first);
  event.block(second);
}

class Graph final : public CudaGraph {
 public:
  Graph(c10::Device device, const std::function<void()>& work) : device_(device) {
    const c10::cuda::CUDAGuard guard(device);
    const c10::cuda::CUDAStream before = c10::cuda::getCurrentCUDAStream(device.index());
    const c10::cuda::CUDAStream own = c10::cuda::getStreamFromPool(false, device.index());
    follow(before, own);
    {
      const c10::cuda::CUDAStreamGuard on_own(own);
      for (int i = 0; i < 2; ++i) work();
      // Other threads keep using their devices: only this thread's work is recorded, and only its errors end
      // the capture.
      graph_.capture_begin({0, 0}, cudaStreamCaptureModeThreadLocal);
      std::exception_ptr failure;
      try {
        work();
      } catch (...) {
        failure = std::current_exception();
      }
      // A capture must be ended, or the stream becomes unusable.
      try {
        graph_.capture_end();
      } catch (...) {
        if (!failure) throw;
      }
      if (failure) std::rethrow_exception(failure);
    }
    follow(own, before);
  }

  ~Graph() override {
    // The graph may still be running.
    try {
      const c10::cuda::CUDAGuard guard(device_);
      c10::cuda::device_synchronize();
    } catch (...) {
    }
  }

  void replay() override {
    const c10::cuda::CUDAGuard guard(device_);
    graph_.replay();
  }

 private:
  c10::Device device_;
  at::cuda::CUDAGraph graph_;
};

}  // namespace

std::unique_ptr<CudaGraph> record_graph(c10::Device device, const std::function<void()>& work) {
  return std::make_unique<Graph>(device, work);
}

}  // namespace ip2p

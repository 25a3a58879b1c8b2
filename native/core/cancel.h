#pragma once

#include <atomic>
#include <memory>

namespace ip2p {

/// Set from the JavaScript thread, polled by the worker between blocks of a model and between steps.
class CancelFlag {
 public:
  void cancel() { cancelled_.store(true, std::memory_order_relaxed); }
  bool cancelled() const { return cancelled_.load(std::memory_order_relaxed); }

 private:
  std::atomic<bool> cancelled_{false};
};

/// Makes `flags` the ones that `check_cancelled()` polls on this thread, for the length of one job.
class CancelScope {
 public:
  CancelScope(const CancelFlag* request, const CancelFlag* environment);
  ~CancelScope();
  CancelScope(const CancelScope&) = delete;
  CancelScope& operator=(const CancelScope&) = delete;
};

/// Throws ERR_ABORTED if the running job was cancelled. Cheap enough to call between layers.
void check_cancelled();

}  // namespace ip2p

#pragma once

#include <c10/core/Device.h>

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>

namespace ip2p {

/// A first-in-first-out queue with one worker thread that lives as long as the process.
///
/// libtorch keeps its gradient mode, its OpenMP team and its CUDA stream per thread, so everything one device
/// computes runs on one thread, always the same. Queues are shared by all JavaScript environments of the
/// process and hold no reference into any of them.
class JobQueue {
 public:
  using Job = std::function<void()>;

  /// The queue of a device; made, with its thread, at first use.
  static JobQueue& of(c10::Device device);
  /// The queue for work that belongs to no device: image resampling, file copies.
  static JobQueue& io();
  /// The queue for waits for other processes, which may take long.
  static JobQueue& waits();
  /// The queue for short exchanges with other processes, beside such a wait.
  static JobQueue& heartbeats();
  /// The queue for releasing large memory.
  static JobQueue& releases();

  /// Appends a job; it must not throw. Never blocks on running work.
  void post(Job job);

 private:
  explicit JobQueue(std::function<void()> on_start);
  void work();

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Job> jobs_;
  std::function<void()> on_start_;
};

/// Threads of CPU operators: the number set here, else OMP_NUM_THREADS, else the physical cores that this
/// process may run on (affinity and cgroup limits respected). Takes effect at the next job of the CPU queue.
int default_thread_count();

/// Has the kernel prefer other threads of the process to those that compute on the CPU, which get at least
/// this niceness, as `nice` has it for processes: the others then answer in time while these are at work.
/// Called on the CPU queue; threads that join its team later have it too. Without effect except on Linux.
void raise_compute_niceness(int least);

}  // namespace ip2p

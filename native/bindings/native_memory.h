#pragma once

#include <napi.h>

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>

#include "core/job_queue.h"

namespace ip2p {

/// The native memory that the objects of one JavaScript environment hold. Used on that environment's thread;
/// shared with its objects, which are finalised after the environment's own data.
class NativeMemory {
 public:
  int64_t objects() const { return objects_; }
  int64_t bytes() const { return bytes_; }

  /// Counts an object in or out and reports its size to V8's garbage collector.
  void add(napi_env env, int64_t bytes);
  void remove(napi_env env, int64_t bytes);
  /// Adjusts the size of a counted object by `bytes` (may be negative).
  void grow(napi_env env, int64_t bytes);

  /// Releases an object that holds `bytes`. Returning memory to the system takes 0.2 s per gigabyte, so large
  /// objects are released on another thread.
  template <class T>
  static void release(const std::shared_ptr<NativeMemory>& self, T value, int64_t bytes) {
    if (bytes < kLarge || !self->begin_release()) return;
    JobQueue::releases().post([self, held = std::make_shared<T>(std::move(value))]() mutable {
      held.reset();
      self->end_release();
    });
  }

  /// Waits for all releases; later ones happen immediately. Called as the environment closes.
  void close();

 private:
  static constexpr int64_t kLarge = 1 << 20;

  bool begin_release();
  void end_release();

  int64_t objects_ = 0;
  int64_t bytes_ = 0;
  std::mutex mutex_;
  std::condition_variable released_;
  int releasing_ = 0;
  bool closed_ = false;
};

/// The native value of a JavaScript object: a tensor, or a shared pointer to something larger. Counted, and
/// released with the object or by dispose().
template <class T>
class Held {
 public:
  Held() = default;
  ~Held() { clear(); }
  Held(const Held&) = delete;
  Held& operator=(const Held&) = delete;

  const T& get() const { return value_; }

  void set(napi_env env, const std::shared_ptr<NativeMemory>& memory, T value, int64_t bytes) {
    clear();
    env_ = env;
    memory_ = memory;
    bytes_ = bytes;
    value_ = std::move(value);
    memory_->add(env_, bytes_);
  }

  /// Updates the count after the value's size has changed.
  void recount(int64_t bytes) {
    if (!memory_) return;
    memory_->grow(env_, bytes - bytes_);
    bytes_ = bytes;
  }

  void clear() {
    if (!memory_) return;
    memory_->remove(env_, bytes_);
    NativeMemory::release(std::exchange(memory_, nullptr), std::exchange(value_, T()), bytes_);
  }

 private:
  napi_env env_ = nullptr;
  std::shared_ptr<NativeMemory> memory_;
  int64_t bytes_ = 0;
  T value_;
};

}  // namespace ip2p

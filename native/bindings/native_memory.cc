#include "bindings/native_memory.h"

namespace ip2p {

void NativeMemory::add(napi_env env, int64_t bytes) {
  objects_ += 1;
  grow(env, bytes);
}

void NativeMemory::remove(napi_env env, int64_t bytes) {
  objects_ -= 1;
  grow(env, -bytes);
}

void NativeMemory::grow(napi_env env, int64_t bytes) {
  bytes_ += bytes;
  int64_t total = 0;
  napi_adjust_external_memory(env, bytes, &total);
}

bool NativeMemory::begin_release() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (closed_) return false;
  ++releasing_;
  return true;
}

void NativeMemory::end_release() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (--releasing_ == 0) released_.notify_all();
}

void NativeMemory::close() {
  std::unique_lock<std::mutex> lock(mutex_);
  closed_ = true;
  released_.wait(lock, [this] { return releasing_ == 0; });
}

}  // namespace ip2p

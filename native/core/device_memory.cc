#include "core/device_memory.h"

#include <ATen/Context.h>
#include <c10/core/CachingDeviceAllocator.h>

namespace ip2p {
namespace {

c10::DeviceAllocator& allocator_of(c10::DeviceType type) {
  at::globalContext().lazyInitDevice(type);
  return *c10::getDeviceAllocator(type);
}

}  // namespace

DeviceMemory device_memory(c10::Device device) {
  const auto stats = allocator_of(device.type()).getDeviceStats(device.index());
  const auto& allocated = stats.allocated_bytes[0];  // of all pools together
  const auto& reserved = stats.reserved_bytes[0];
  return {allocated.current, reserved.current, allocated.peak, reserved.peak};
}

void reset_peak_memory(c10::Device device) {
  allocator_of(device.type()).resetPeakStats(device.index());
}

void empty_device_cache() {
  if (!at::globalContext().hasCUDA()) return;
  c10::DeviceAllocator& allocator = *c10::getDeviceAllocator(c10::kCUDA);
  if (allocator.initialized()) allocator.emptyCache();
}

void empty_device_cache_quietly() noexcept {
  try {
    empty_device_cache();
  } catch (...) {
  }
}

}  // namespace ip2p

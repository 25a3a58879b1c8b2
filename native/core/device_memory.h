#pragma once

#include <c10/core/Device.h>

#include <cstdint>

namespace ip2p {

/// Statistics of libtorch's caching allocator for a CUDA device, in bytes.
struct DeviceMemory {
  int64_t allocated;       ///< held by tensors
  int64_t reserved;        ///< taken from the driver, cached memory included
  int64_t peak_allocated;  ///< maximum since the last reset
  int64_t peak_reserved;
};

DeviceMemory device_memory(c10::Device device);
void reset_peak_memory(c10::Device device);

/// Returns unused cached memory to the driver. Does nothing if no CUDA device was used yet.
void empty_device_cache();

/// The same after an error; does not throw.
void empty_device_cache_quietly() noexcept;

}  // namespace ip2p

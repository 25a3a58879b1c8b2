#pragma once

#include <c10/core/Device.h>

#include <cstdint>

namespace ip2p {

/// Memory that libtorch's caching allocator has of a CUDA device, in bytes.
struct DeviceMemory {
  int64_t allocated;       ///< held by tensors
  int64_t reserved;        ///< taken from the driver, for tensors of now and later
  int64_t peak_allocated;  ///< the most since the last reset
  int64_t peak_reserved;
};

DeviceMemory device_memory(c10::Device device);
void reset_peak_memory(c10::Device device);

/// Gives what no tensor holds back to the driver. Does nothing where no CUDA device was used yet.
void empty_device_cache();

/// The same after an error, of which this must not make another.
void empty_device_cache_quietly() noexcept;

}  // namespace ip2p

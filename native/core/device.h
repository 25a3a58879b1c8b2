#pragma once

#include <c10/core/Device.h>

#include <string>

namespace ip2p {

/// Parses "cpu", "cuda" or "cuda:N" and makes sure the device can be used: ERR_INVALID_ARGUMENT for another
/// name, ERR_CUDA_UNAVAILABLE for a CUDA device that does not exist.
c10::Device parse_device(const std::string& name);

/// "cpu" or "cuda:N".
std::string device_name(c10::Device device);

/// Number of CUDA devices that libtorch can use: 0 without a CUDA libtorch, a driver or a device.
int cuda_device_count();

}  // namespace ip2p

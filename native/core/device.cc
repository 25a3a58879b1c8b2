#include "core/device.h"

#include <ATen/Context.h>

#include "core/error.h"

namespace ip2p {

int cuda_device_count() {
  if (!at::globalContext().hasCUDA()) return 0;
  return static_cast<int>(at::detail::getCUDAHooks().deviceCount());
}

c10::Device parse_device(const std::string& name) {
  c10::Device device(c10::kCPU);
  try {
    device = c10::Device(name);
  } catch (const c10::Error&) {
    throw Error("ERR_INVALID_ARGUMENT",
                "unknown device \"" + name + "\": expected \"cpu\", \"cuda\" or \"cuda:N\"");
  }
  if (device.is_cpu()) return c10::Device(c10::kCPU);
  if (!device.is_cuda())
    throw Error("ERR_INVALID_ARGUMENT",
                "unknown device \"" + name + "\": expected \"cpu\", \"cuda\" or \"cuda:N\"");
  const int count = cuda_device_count();
  const int index = device.has_index() ? device.index() : 0;
  if (index >= count) {
    const std::string why = !at::globalContext().hasCUDA()
                                ? "the libtorch in use has no CUDA support, or no NVIDIA driver is installed"
                            : count == 0 ? "no CUDA driver or device was found"
                                         : "there are " + std::to_string(count) + " CUDA devices";
    throw Error("ERR_CUDA_UNAVAILABLE", "device \"" + name + "\" is not available: " + why);
  }
  return c10::Device(c10::kCUDA, static_cast<c10::DeviceIndex>(index));
}

std::string device_name(c10::Device device) {
  return device.is_cuda() ? "cuda:" + std::to_string(device.has_index() ? device.index() : 0) : "cpu";
}

}  // namespace ip2p

#include <ATen/Context.h>

#include "bindings/convert.h"
#include "bindings/register.h"
#include "core/cuda_library.h"
#include "core/device.h"
#include "core/device_memory.h"
#include "core/error.h"

namespace ip2p {
namespace {

using Info = Napi::CallbackInfo;

/// Checks the name of a CUDA device: ERR_CUDA_UNAVAILABLE if the device does not exist.
c10::Device cuda_argument(const Napi::Value& value) {
  const std::string name = string_argument(value, "device");
  const c10::Device device = parse_device(name);
  if (!device.is_cuda())
    throw Error("ERR_INVALID_ARGUMENT", "the device must be \"cuda\" or \"cuda:N\", not \"" + name + "\"");
  return device;
}

Napi::Number number(Napi::Env env, int64_t value) {
  return Napi::Number::New(env, static_cast<double>(value));
}

/// cudaVersions(): { driver, runtime } as CUDA counts them, 13000 for 13.0; null without the CUDA library
Napi::Value cuda_versions(const Info& info) {
  const CudaLibrary* library = cuda_library();
  if (library == nullptr) return info.Env().Null();
  Napi::Object result = Napi::Object::New(info.Env());
  result.Set("driver", number(info.Env(), library->driver_version()));
  result.Set("runtime", number(info.Env(), library->runtime_version()));
  return result;
}

/// cudaProperties(device): { name, computeCapability, memory, multiprocessors }
Napi::Value cuda_properties(const Info& info) {
  const c10::Device device = cuda_argument(info[0]);
  const CudaProperties found = require_cuda_library().properties(device);
  Napi::Object result = Napi::Object::New(info.Env());
  result.Set("name", Napi::String::New(info.Env(), found.name));
  result.Set("computeCapability", to_js(info.Env(), {found.major, found.minor}));
  result.Set("memory", number(info.Env(), found.memory));
  result.Set("multiprocessors", number(info.Env(), found.multiprocessors));
  return result;
}

/// deviceMemory(device): { allocated, reserved, peakAllocated, peakReserved, free, total }; the last two are
/// null without the CUDA library
Napi::Value memory_of_device(const Info& info) {
  const c10::Device device = cuda_argument(info[0]);
  return submit(info.Env(), device, [device]() -> Finish {
    const DeviceMemory memory = device_memory(device);
    std::optional<std::pair<int64_t, int64_t>> driver;
    if (const CudaLibrary* library = cuda_library()) driver = library->free_and_total_memory(device);
    return [memory, driver](Napi::Env js) {
      Napi::Object result = Napi::Object::New(js);
      result.Set("allocated", number(js, memory.allocated));
      result.Set("reserved", number(js, memory.reserved));
      result.Set("peakAllocated", number(js, memory.peak_allocated));
      result.Set("peakReserved", number(js, memory.peak_reserved));
      result.Set("free", driver ? Napi::Value(number(js, driver->first)) : js.Null());
      result.Set("total", driver ? Napi::Value(number(js, driver->second)) : js.Null());
      return result;
    };
  });
}

/// resetPeakMemory(device): resets the peaks to the current values
Napi::Value reset_peak(const Info& info) {
  const c10::Device device = cuda_argument(info[0]);
  return submit_void(info.Env(), device, [device] { reset_peak_memory(device); });
}

/// emptyCache(device): returns unused cached memory to the driver
Napi::Value empty_cache(const Info& info) {
  return submit_void(info.Env(), cuda_argument(info[0]), [] { empty_device_cache(); });
}

/// synchronize(device): resolves when everything queued on the device before is done
Napi::Value synchronize(const Info& info) {
  const c10::Device device = parse_device(string_argument(info[0], "device"));
  return submit_void(info.Env(), device, [device] {
    if (device.is_cuda()) require_cuda_library().synchronize(device);
  });
}

/// setAllowTf32(allowed): whether CUDA may round float32 matrix products to TF32
Napi::Value set_allow_tf32(const Info& info) {
  at::globalContext().setAllowTF32CuBLAS(bool_argument(info[0], "allowed"));
  return info.Env().Undefined();
}

/// setDeterministic(wanted): use deterministic operators; an operator that has no deterministic version
/// throws
Napi::Value set_deterministic(const Info& info) {
  const bool wanted = bool_argument(info[0], "wanted");
  at::Context& context = at::globalContext();
  context.setDeterministicAlgorithms(wanted, false);
  context.setDeterministicCuDNN(wanted);
  // Filling uninitialised memory only helps to find reads before the first write, and costs time.
  context.setDeterministicFillUninitializedMemory(false);
  return info.Env().Undefined();
}

}  // namespace

void register_cuda(Napi::Env env, Napi::Object exports) {
  export_function<cuda_versions>(env, exports, "cudaVersions");
  export_function<cuda_properties>(env, exports, "cudaProperties");
  export_function<memory_of_device>(env, exports, "deviceMemory");
  export_function<reset_peak>(env, exports, "resetPeakMemory");
  export_function<empty_cache>(env, exports, "emptyCache");
  export_function<synchronize>(env, exports, "synchronize");
  export_function<set_allow_tf32>(env, exports, "setAllowTf32");
  export_function<set_deterministic>(env, exports, "setDeterministic");
}

}  // namespace ip2p

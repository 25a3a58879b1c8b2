#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <torch/version.h>

#include <optional>

#include "bindings/convert.h"
#include "bindings/objects.h"
#include "bindings/register.h"
#include "core/cuda_library.h"
#include "core/device.h"
#include "core/dtype.h"
#include "core/error.h"
#include "core/exit_guard.h"
#include "core/job_queue.h"
#include "core/operator_trace.h"
#include "kernels/half_weights.h"
#include "kernels/simd/instruction_set.h"
#include "kernels/winograd.h"

namespace ip2p {
namespace {

using Info = Napi::CallbackInfo;

/// setErrorClass(InstructPix2PixError)
Napi::Value set_error_class(const Info& info) {
  if (!info[0].IsFunction()) throw Error("ERR_INVALID_ARGUMENT", "the error class must be a function");
  Environment::of(info.Env()).error_class = Napi::Persistent(info[0].As<Napi::Function>());
  return info.Env().Undefined();
}

/// systemInfo(): versions and capabilities of this build
Napi::Value system_info(const Info& info) {
  Napi::Object result = Napi::Object::New(info.Env());
  result.Set("libtorch", Napi::String::New(info.Env(), TORCH_VERSION));
  result.Set("cpuCapability", Napi::String::New(info.Env(), at::get_cpu_capability()));
  result.Set("cpuKernels", Napi::String::New(info.Env(), instruction_set_name(instruction_set())));
  result.Set("defaultThreads", Napi::Number::New(info.Env(), default_thread_count()));
  result.Set("cudaBuilt", Napi::Boolean::New(info.Env(), at::globalContext().hasCUDA()));
  result.Set("cudaDevices", Napi::Number::New(info.Env(), cuda_device_count()));
  result.Set("cudaLibrary", Napi::Boolean::New(info.Env(), cuda_library() != nullptr));
  Napi::Object arithmetic = Napi::Object::New(info.Env());
  for (const c10::ScalarType type : {at::kBFloat16, at::kHalf})
    arithmetic.Set(dtype_name(type),
                   Napi::String::New(info.Env(), dtype_name(arithmetic_type(type, c10::Device(c10::kCPU)))));
  result.Set("cpuArithmetic", arithmetic);
  return result;
}

/// startOperatorTrace(): false if somebody records already
Napi::Value start_trace(const Info& info) {
  return Napi::Boolean::New(info.Env(), start_operator_trace());
}

/// stopOperatorTrace(): { names, calls }, each call its name's index, thread, start and end in nanoseconds
Napi::Value stop_trace(const Info& info) {
  const OperatorTrace trace = stop_operator_trace();
  Napi::Array names = Napi::Array::New(info.Env(), trace.names.size());
  for (size_t i = 0; i < trace.names.size(); ++i)
    names.Set(static_cast<uint32_t>(i), Napi::String::New(info.Env(), trace.names[i]));
  Napi::Float64Array calls = Napi::Float64Array::New(info.Env(), 4 * trace.calls.size());
  for (size_t i = 0; i < trace.calls.size(); ++i) {
    const auto& [name, thread, start, end] = trace.calls[i];
    const double fields[] = {static_cast<double>(name), static_cast<double>(thread),
                             static_cast<double>(start), static_cast<double>(end)};
    for (size_t k = 0; k < 4; ++k) calls[4 * i + k] = fields[k];
  }
  Napi::Object result = Napi::Object::New(info.Env());
  result.Set("names", names);
  result.Set("calls", calls);
  return result;
}

/// processEnds(status): the process is about to end, running jobs or not. A status that is not a number is
/// ignored, since an error could not be reported any more.
Napi::Value process_ends(const Info& info) {
  std::optional<int> status;
  if (info[0].IsNumber()) status = info[0].As<Napi::Number>().Int32Value();
  ExitGuard::process_ends(status);
  return info.Env().Undefined();
}

/// memoryUsage(): native memory of the undisposed tensors, models and trainers of this JavaScript environment
Napi::Value memory_usage(const Info& info) {
  const NativeMemory& memory = *Environment::of(info.Env()).memory;
  Napi::Object result = Napi::Object::New(info.Env());
  result.Set("objects", Napi::Number::New(info.Env(), static_cast<double>(memory.objects())));
  result.Set("bytes", Napi::Number::New(info.Env(), static_cast<double>(memory.bytes())));
  return result;
}

/// setThreads(count): threads of CPU operators, from the next job on
Napi::Value set_threads(const Info& info) {
  const int64_t count = integer_argument(info[0], "threads");
  if (count < 1 || count > 1024)
    throw Error("ERR_INVALID_ARGUMENT", "the number of threads must lie in 1..1024");
  return submit_void(info.Env(), c10::kCPU, [count] { at::set_num_threads(static_cast<int>(count)); });
}

/// getThreads()
Napi::Value get_threads(const Info& info) {
  return submit(info.Env(), c10::kCPU, []() -> Finish {
    const int count = at::get_num_threads();
    return [count](Napi::Env js) { return Napi::Number::New(js, count); };
  });
}

/// raiseNiceness(least): of the threads that compute on the CPU
Napi::Value raise_niceness(const Info& info) {
  const int64_t least = integer_argument(info[0], "niceness");
  if (least < 0 || least > 19) throw Error("ERR_INVALID_ARGUMENT", "the niceness must lie in 0..19");
  return submit_void(info.Env(), c10::kCPU, [least] { raise_compute_niceness(static_cast<int>(least)); });
}

/// setAllowWinograd(allowed): whether convolutions in float32 may use Winograd's algorithm, from now on
Napi::Value set_allow_winograd(const Info& info) {
  allow_winograd(bool_argument(info[0], "allowed"));
  return info.Env().Undefined();
}

}  // namespace

void register_system(Napi::Env env, Napi::Object exports) {
  exports.Set("libtorchVersion", Napi::String::New(env, TORCH_VERSION));
  export_function<set_error_class>(env, exports, "setErrorClass");
  export_function<system_info>(env, exports, "systemInfo");
  export_function<start_trace>(env, exports, "startOperatorTrace");
  export_function<stop_trace>(env, exports, "stopOperatorTrace");
  export_function<process_ends>(env, exports, "processEnds");
  export_function<memory_usage>(env, exports, "memoryUsage");
  export_function<set_threads>(env, exports, "setThreads");
  export_function<get_threads>(env, exports, "getThreads");
  export_function<raise_niceness>(env, exports, "raiseNiceness");
  export_function<set_allow_winograd>(env, exports, "setAllowWinograd");
}

}  // namespace ip2p

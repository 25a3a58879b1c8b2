#pragma once

#include <napi.h>

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>

#include "bindings/native_memory.h"
#include "core/cancel.h"
#include "core/job_queue.h"

namespace ip2p {

/// What a finished job does on the JavaScript thread: turn its native result into a value.
using Finish = std::function<Napi::Value(Napi::Env)>;
/// What a job does on the worker thread. It touches no N-API; everything it needs was copied before.
using Work = std::function<Finish()>;

/// Everything this addon keeps for one JavaScript environment (the main thread or one worker_thread). There
/// is no static JavaScript reference anywhere, so environments come and go independently.
class Environment {
 public:
  static void install(Napi::Env env);
  static Environment& of(Napi::Env env);

  /// Queues `work` and returns a promise of its Finish's value. `request` may be null.
  Napi::Promise submit(JobQueue& queue, std::shared_ptr<CancelFlag> request, Work work);

  /// The InstructPix2PixError for a native failure; a plain Error with `code` before the class was
  /// registered.
  Napi::Error make_error(const std::string& code, const std::string& message);

  const std::shared_ptr<NativeMemory> memory = std::make_shared<NativeMemory>();
  Napi::FunctionReference error_class;
  Napi::FunctionReference tensor_class;
  Napi::FunctionReference generator_class;
  Napi::FunctionReference model_class;
  Napi::FunctionReference trainer_class;

 private:
  struct Shared;
  struct Pending;

  explicit Environment(Napi::Env env);
  static void on_teardown(void* data);
  static void complete(napi_env env, napi_value callback, void* context, void* data);
  /// Resolves or rejects the promise of a finished job.
  void settle(Pending& pending);

  Napi::Env env_;
  std::shared_ptr<Shared> shared_;
  int pending_count_ = 0;

 public:
  Napi::FunctionReference store_class;
  Napi::FunctionReference process_group_class;
};

/// Runs `body` and turns whatever it throws into a JavaScript exception of the right class.
template <class Body>
auto guarded(Napi::Env env, Body&& body) -> decltype(body());

void throw_as_javascript(Napi::Env env, const std::exception_ptr& error);

template <class Body>
auto guarded(Napi::Env env, Body&& body) -> decltype(body()) {
  try {
    return body();
  } catch (const Napi::Error&) {
    throw;
  } catch (...) {
    throw_as_javascript(env, std::current_exception());
    throw;  // not reached: the call above throws
  }
}

}  // namespace ip2p

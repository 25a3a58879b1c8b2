#pragma once

#include <ATen/core/Tensor.h>
#include <napi.h>

#include <memory>
#include <utility>

#include "bindings/environment.h"
#include "core/job_queue.h"

namespace ip2p {

class Model;

// Each binding file adds its functions to the addon's exports; lib/runtime/contract/ is the typed list of all
// of them.
void register_system(Napi::Env env, Napi::Object exports);
void register_cuda(Napi::Env env, Napi::Object exports);
void register_tensor_ops(Napi::Env env, Napi::Object exports);
void register_random(Napi::Env env, Napi::Object exports);
void register_files(Napi::Env env, Napi::Object exports);
void register_models(Napi::Env env, Napi::Object exports);
void register_unet(Napi::Env env, Napi::Object exports);
void register_image_models(Napi::Env env, Napi::Object exports);
void register_training(Napi::Env env, Napi::Object exports);
void register_distributed(Napi::Env env, Napi::Object exports);
void register_operators(Napi::Env env, Napi::Object exports);
void register_pictures(Napi::Env env, Napi::Object exports);

/// Exports `body` under `name`; what it throws becomes a JavaScript exception of this package's class.
template <Napi::Value (*body)(const Napi::CallbackInfo&)>
void export_function(Napi::Env env, Napi::Object exports, const char* name) {
  exports.Set(
      name,
      Napi::Function::New(
          env, [](const Napi::CallbackInfo& info) { return guarded(info.Env(), [&] { return body(info); }); },
          name));
}

/// Queues `work` on a device's thread.
inline Napi::Value submit(Napi::Env env, c10::Device device, Work work,
                          std::shared_ptr<CancelFlag> cancel = nullptr) {
  return Environment::of(env).submit(JobQueue::of(device), std::move(cancel), std::move(work));
}

/// Queues work with a model on its current device. The job fails if the model has been moved by the time it
/// runs, since another thread uses the weights then.
Napi::Value submit_with(Napi::Env env, const std::shared_ptr<Model>& model, Work work,
                        std::shared_ptr<CancelFlag> cancel = nullptr);

/// Work whose result is one tensor, and work without a result.
Work tensor_work(std::function<at::Tensor()> work);
Work void_work(std::function<void()> work);

/// Queues work whose result is one tensor.
Napi::Value submit_tensor(Napi::Env env, c10::Device device, std::function<at::Tensor()> work,
                          std::shared_ptr<CancelFlag> cancel = nullptr);

/// Queues work without a result.
Napi::Value submit_void(Napi::Env env, c10::Device device, std::function<void()> work);

}  // namespace ip2p

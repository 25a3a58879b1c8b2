#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>
#include <napi.h>

#include <memory>
#include <string>

#include "bindings/native_memory.h"
#include "core/cancel.h"
#include "nn/conditions.h"

namespace ip2p {

class Model;
class ParameterTrainer;
class ProcessGroup;
class Store;

/// JavaScript's handle of a tensor. `dispose()` releases the storage at once; jobs already queued hold their
/// own reference and finish undisturbed. Its size is reported to V8 so that garbage collection sees it.
class TensorObject : public Napi::ObjectWrap<TensorObject> {
 public:
  static void define(Napi::Env env, Napi::Object exports);
  static Napi::Value make(Napi::Env env, at::Tensor tensor);
  /// The tensor behind a handle; ERR_INVALID_ARGUMENT for anything else, ERR_DISPOSED after dispose().
  static at::Tensor get(const Napi::Value& value);

  explicit TensorObject(const Napi::CallbackInfo& info);

 private:
  Napi::Value shape(const Napi::CallbackInfo& info);
  Napi::Value dtype(const Napi::CallbackInfo& info);
  Napi::Value device(const Napi::CallbackInfo& info);
  Napi::Value disposed(const Napi::CallbackInfo& info);
  void dispose(const Napi::CallbackInfo& info);

  Held<at::Tensor> tensor_;
};

/// JavaScript's handle of a libtorch generator.
class GeneratorObject : public Napi::ObjectWrap<GeneratorObject> {
 public:
  static void define(Napi::Env env, Napi::Object exports);
  static at::Generator get(const Napi::Value& value);
  /// As get(); null or undefined select libtorch's default generator.
  static std::optional<at::Generator> get_optional(const Napi::Value& value);

  explicit GeneratorObject(const Napi::CallbackInfo& info);

 private:
  Napi::Value device(const Napi::CallbackInfo& info);

  at::Generator generator_;
};

/// JavaScript's handle of a loaded model.
class ModelObject : public Napi::ObjectWrap<ModelObject> {
 public:
  static void define(Napi::Env env, Napi::Object exports);
  static Napi::Value make(Napi::Env env, std::shared_ptr<Model> model);
  static std::shared_ptr<Model> get(const Napi::Value& value);

  explicit ModelObject(const Napi::CallbackInfo& info);

 private:
  Napi::Value disposed(const Napi::CallbackInfo& info);
  void dispose(const Napi::CallbackInfo& info);

  Held<std::shared_ptr<Model>> model_;
};

/// JavaScript's handle of a trainer: optimizer state and averaged weights beside the model it trains.
class TrainerObject : public Napi::ObjectWrap<TrainerObject> {
 public:
  static void define(Napi::Env env, Napi::Object exports);
  static Napi::Value make(Napi::Env env, std::shared_ptr<ParameterTrainer> trainer, int64_t bytes);
  static std::shared_ptr<ParameterTrainer> get(const Napi::Value& value);

  explicit TrainerObject(const Napi::CallbackInfo& info);

 private:
  void dispose(const Napi::CallbackInfo& info);

  Held<std::shared_ptr<ParameterTrainer>> trainer_;
};

/// JavaScript's handle of a store that processes share; `dispose()` disconnects.
class StoreObject : public Napi::ObjectWrap<StoreObject> {
 public:
  static void define(Napi::Env env, Napi::Object exports);
  static Napi::Value make(Napi::Env env, std::shared_ptr<Store> store);
  static std::shared_ptr<Store> get(const Napi::Value& value);

  explicit StoreObject(const Napi::CallbackInfo& info);

 private:
  void dispose(const Napi::CallbackInfo& info);

  Held<std::shared_ptr<Store>> store_;
};

/// JavaScript's handle of a group of processes; `dispose()` leaves it.
class ProcessGroupObject : public Napi::ObjectWrap<ProcessGroupObject> {
 public:
  static void define(Napi::Env env, Napi::Object exports);
  static Napi::Value make(Napi::Env env, std::shared_ptr<ProcessGroup> group);
  static std::shared_ptr<ProcessGroup> get(const Napi::Value& value);

  explicit ProcessGroupObject(const Napi::CallbackInfo& info);

 private:
  void dispose(const Napi::CallbackInfo& info);

  Held<std::shared_ptr<ProcessGroup>> group_;
};

/// JavaScript's handle of a cache that a UNet uses between passes: `new UNetCache(timesteps)`, `dispose()`.
class UNetCacheObject : public Napi::ObjectWrap<UNetCacheObject> {
 public:
  static void define(Napi::Env env, Napi::Object exports);
  using Counted = Held<std::shared_ptr<UNetCache>>;
  /// Null for undefined or null, and after dispose(). Queued passes share ownership; only the JavaScript
  /// thread counts its memory.
  static std::shared_ptr<Counted> get_optional(const Napi::Value& value);

  explicit UNetCacheObject(const Napi::CallbackInfo& info);
  ~UNetCacheObject() override { cache_->clear(); }

 private:
  void dispose(const Napi::CallbackInfo& info);

  const std::shared_ptr<Counted> cache_ = std::make_shared<Counted>();
};

/// JavaScript's handle of a cancel flag: `new CancelToken()`, `cancel()`.
class CancelObject : public Napi::ObjectWrap<CancelObject> {
 public:
  static void define(Napi::Env env, Napi::Object exports);
  /// Null for undefined or null.
  static std::shared_ptr<CancelFlag> get_optional(const Napi::Value& value);

  explicit CancelObject(const Napi::CallbackInfo& info);

 private:
  void cancel(const Napi::CallbackInfo& info);

  std::shared_ptr<CancelFlag> flag_ = std::make_shared<CancelFlag>();
};

}  // namespace ip2p

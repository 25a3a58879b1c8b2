#include "bindings/objects.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Context.h>

#include <utility>

#include "bindings/convert.h"
#include "bindings/environment.h"
#include "core/device.h"
#include "core/dtype.h"
#include "core/error.h"
#include "distributed/process_group.h"
#include "models/model.h"
#include "training/parameter_trainer.h"

namespace ip2p {
namespace {

// Tags tell one wrapped class from another whatever prototype an object was given, so unwrapping can never
// reinterpret a foreign pointer. Accessors check them too: V8 checks the receiver of methods only, and a
// getter can be taken from its prototype and called on anything.
// Other copies of the package in this process, perhaps of other versions, have classes of the same names but
// another layout: half of a tag is this copy's load address.
napi_type_tag own_tag(uint64_t kind) {
  static const char here = 0;
  return {0x8f1c6a52f0d94b17ULL, reinterpret_cast<uintptr_t>(&here) + kind};
}

const napi_type_tag kTensorTag = own_tag(1);
const napi_type_tag kGeneratorTag = own_tag(2);
const napi_type_tag kModelTag = own_tag(3);
const napi_type_tag kTrainerTag = own_tag(4);
const napi_type_tag kUNetCacheTag = own_tag(5);
const napi_type_tag kCancelTag = own_tag(6);
const napi_type_tag kStoreTag = own_tag(7);
const napi_type_tag kProcessGroupTag = own_tag(8);

template <class Wrapped>
Wrapped* unwrap(const Napi::Value& value, const napi_type_tag& tag, const char* what) {
  if (!value.IsObject() || !value.As<Napi::Object>().CheckTypeTag(&tag))
    throw Error("ERR_INVALID_ARGUMENT", std::string("expected a ") + what);
  return Wrapped::Unwrap(value.As<Napi::Object>());
}

}  // namespace

// ---- Tensor
// -------------------------------------------------------------------------------------------------------

void TensorObject::define(Napi::Env env, Napi::Object exports) {
  const Napi::Function constructor = DefineClass(
      env, "NativeTensor",
      {InstanceAccessor<&TensorObject::shape>("shape"), InstanceAccessor<&TensorObject::dtype>("dtype"),
       InstanceAccessor<&TensorObject::device>("device"),
       InstanceAccessor<&TensorObject::disposed>("disposed"),
       InstanceMethod<&TensorObject::dispose>("dispose")});
  Environment::of(env).tensor_class = Napi::Persistent(constructor);
  exports.Set("NativeTensor", constructor);
}

TensorObject::TensorObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<TensorObject>(info) {
  info.This().As<Napi::Object>().TypeTag(&kTensorTag);
}

Napi::Value TensorObject::make(Napi::Env env, at::Tensor tensor) {
  // A safetensors file could not hold such a tensor.
  require_rank(static_cast<size_t>(tensor.dim()), "the tensor");
  const Napi::Object object = Environment::of(env).tensor_class.New({});
  const auto bytes = static_cast<int64_t>(tensor.nbytes());
  Unwrap(object)->tensor_.set(env, Environment::of(env).memory, std::move(tensor), bytes);
  return object;
}

at::Tensor TensorObject::get(const Napi::Value& value) {
  const auto* self = unwrap<TensorObject>(value, kTensorTag, "Tensor");
  if (!self->tensor_.get().defined()) throw Error("ERR_DISPOSED", "the tensor was disposed");
  return self->tensor_.get();
}

Napi::Value TensorObject::shape(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] { return to_js(info.Env(), get(info.This()).sizes()); });
}

Napi::Value TensorObject::dtype(const Napi::CallbackInfo& info) {
  return guarded(info.Env(),
                 [&] { return Napi::String::New(info.Env(), dtype_name(get(info.This()).scalar_type())); });
}

Napi::Value TensorObject::device(const Napi::CallbackInfo& info) {
  return guarded(info.Env(),
                 [&] { return Napi::String::New(info.Env(), device_name(get(info.This()).device())); });
}

Napi::Value TensorObject::disposed(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    const auto* self = unwrap<TensorObject>(info.This(), kTensorTag, "Tensor");
    return Napi::Boolean::New(info.Env(), !self->tensor_.get().defined());
  });
}

void TensorObject::dispose(const Napi::CallbackInfo&) {
  tensor_.clear();
}

// ---- Generator
// ----------------------------------------------------------------------------------------------------

void GeneratorObject::define(Napi::Env env, Napi::Object exports) {
  const Napi::Function constructor =
      DefineClass(env, "NativeGenerator", {InstanceAccessor<&GeneratorObject::device>("device")});
  Environment::of(env).generator_class = Napi::Persistent(constructor);
  exports.Set("NativeGenerator", constructor);
}

GeneratorObject::GeneratorObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<GeneratorObject>(info) {
  guarded(info.Env(), [&] {
    const c10::Device device = parse_device(string_argument(info[0], "device"));
    const uint64_t seed = unsigned_argument(info[1], "seed");
    if (device.is_cpu()) {
      generator_ = at::detail::createCPUGenerator(seed);
    } else {
      generator_ = at::detail::getCUDAHooks().getNewGenerator(device.index());
      generator_.set_current_seed(seed);
    }
    info.This().As<Napi::Object>().TypeTag(&kGeneratorTag);
  });
}

at::Generator GeneratorObject::get(const Napi::Value& value) {
  return unwrap<GeneratorObject>(value, kGeneratorTag, "Generator")->generator_;
}

std::optional<at::Generator> GeneratorObject::get_optional(const Napi::Value& value) {
  if (value.IsUndefined() || value.IsNull()) return std::nullopt;
  return get(value);
}

Napi::Value GeneratorObject::device(const Napi::CallbackInfo& info) {
  return guarded(info.Env(),
                 [&] { return Napi::String::New(info.Env(), device_name(get(info.This()).device())); });
}

// ---- Model
// --------------------------------------------------------------------------------------------------------

void ModelObject::define(Napi::Env env, Napi::Object exports) {
  const Napi::Function constructor = DefineClass(env, "NativeModel",
                                                 {InstanceAccessor<&ModelObject::disposed>("disposed"),
                                                  InstanceMethod<&ModelObject::dispose>("dispose")});
  Environment::of(env).model_class = Napi::Persistent(constructor);
  exports.Set("NativeModel", constructor);
}

ModelObject::ModelObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<ModelObject>(info) {
  info.This().As<Napi::Object>().TypeTag(&kModelTag);
}

Napi::Value ModelObject::make(Napi::Env env, std::shared_ptr<Model> model) {
  const Napi::Object object = Environment::of(env).model_class.New({});
  const int64_t bytes = model->parameter_bytes();
  Unwrap(object)->model_.set(env, Environment::of(env).memory, std::move(model), bytes);
  return object;
}

std::shared_ptr<Model> ModelObject::get(const Napi::Value& value) {
  const auto* self = unwrap<ModelObject>(value, kModelTag, "model");
  if (!self->model_.get()) throw Error("ERR_DISPOSED", "the model was disposed");
  return self->model_.get();
}

Napi::Value ModelObject::disposed(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    const auto* self = unwrap<ModelObject>(info.This(), kModelTag, "model");
    return Napi::Boolean::New(info.Env(), !self->model_.get());
  });
}

void ModelObject::dispose(const Napi::CallbackInfo&) {
  model_.clear();
}

// ---- Trainer
// ------------------------------------------------------------------------------------------------------

void TrainerObject::define(Napi::Env env, Napi::Object exports) {
  const Napi::Function constructor =
      DefineClass(env, "NativeTrainer", {InstanceMethod<&TrainerObject::dispose>("dispose")});
  Environment::of(env).trainer_class = Napi::Persistent(constructor);
  exports.Set("NativeTrainer", constructor);
}

TrainerObject::TrainerObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<TrainerObject>(info) {
  info.This().As<Napi::Object>().TypeTag(&kTrainerTag);
}

Napi::Value TrainerObject::make(Napi::Env env, std::shared_ptr<ParameterTrainer> trainer, int64_t bytes) {
  const Napi::Object object = Environment::of(env).trainer_class.New({});
  Unwrap(object)->trainer_.set(env, Environment::of(env).memory, std::move(trainer), bytes);
  return object;
}

std::shared_ptr<ParameterTrainer> TrainerObject::get(const Napi::Value& value) {
  const auto* self = unwrap<TrainerObject>(value, kTrainerTag, "trainer");
  if (!self->trainer_.get()) throw Error("ERR_DISPOSED", "the trainer was disposed");
  return self->trainer_.get();
}

void TrainerObject::dispose(const Napi::CallbackInfo&) {
  trainer_.clear();
}

// ---- Store, ProcessGroup
// ------------------------------------------------------------------------------------------

void StoreObject::define(Napi::Env env, Napi::Object exports) {
  const Napi::Function constructor =
      DefineClass(env, "NativeStore", {InstanceMethod<&StoreObject::dispose>("dispose")});
  Environment::of(env).store_class = Napi::Persistent(constructor);
  exports.Set("NativeStore", constructor);
}

StoreObject::StoreObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<StoreObject>(info) {
  info.This().As<Napi::Object>().TypeTag(&kStoreTag);
}

Napi::Value StoreObject::make(Napi::Env env, std::shared_ptr<Store> store) {
  const Napi::Object object = Environment::of(env).store_class.New({});
  Unwrap(object)->store_.set(env, Environment::of(env).memory, std::move(store), 0);
  return object;
}

std::shared_ptr<Store> StoreObject::get(const Napi::Value& value) {
  const auto* self = unwrap<StoreObject>(value, kStoreTag, "store");
  if (!self->store_.get()) throw Error("ERR_DISPOSED", "the store was disposed");
  return self->store_.get();
}

void StoreObject::dispose(const Napi::CallbackInfo&) {
  store_.clear();
}

void ProcessGroupObject::define(Napi::Env env, Napi::Object exports) {
  const Napi::Function constructor =
      DefineClass(env, "NativeProcessGroup", {InstanceMethod<&ProcessGroupObject::dispose>("dispose")});
  Environment::of(env).process_group_class = Napi::Persistent(constructor);
  exports.Set("NativeProcessGroup", constructor);
}

ProcessGroupObject::ProcessGroupObject(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<ProcessGroupObject>(info) {
  info.This().As<Napi::Object>().TypeTag(&kProcessGroupTag);
}

Napi::Value ProcessGroupObject::make(Napi::Env env, std::shared_ptr<ProcessGroup> group) {
  const Napi::Object object = Environment::of(env).process_group_class.New({});
  Unwrap(object)->group_.set(env, Environment::of(env).memory, std::move(group), 0);
  return object;
}

std::shared_ptr<ProcessGroup> ProcessGroupObject::get(const Napi::Value& value) {
  const auto* self = unwrap<ProcessGroupObject>(value, kProcessGroupTag, "process group");
  if (!self->group_.get()) throw Error("ERR_DISPOSED", "the process group was disposed");
  return self->group_.get();
}

void ProcessGroupObject::dispose(const Napi::CallbackInfo&) {
  group_.clear();
}

// ---- UNetCache
// ----------------------------------------------------------------------------------------------------

void UNetCacheObject::define(Napi::Env env, Napi::Object exports) {
  exports.Set("UNetCache",
              DefineClass(env, "UNetCache", {InstanceMethod<&UNetCacheObject::dispose>("dispose")}));
}

UNetCacheObject::UNetCacheObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<UNetCacheObject>(info) {
  guarded(info.Env(), [&] {
    auto cache = std::make_shared<UNetCache>(numbers_argument(info[0], "timesteps"));
    cache_->set(info.Env(), Environment::of(info.Env()).memory, std::move(cache), 0);
    info.This().As<Napi::Object>().TypeTag(&kUNetCacheTag);
  });
}

std::shared_ptr<UNetCacheObject::Counted> UNetCacheObject::get_optional(const Napi::Value& value) {
  if (value.IsUndefined() || value.IsNull()) return nullptr;
  const auto& cache = unwrap<UNetCacheObject>(value, kUNetCacheTag, "UNetCache")->cache_;
  return cache->get() ? cache : nullptr;
}

void UNetCacheObject::dispose(const Napi::CallbackInfo&) {
  cache_->clear();
}

// ---- CancelToken
// --------------------------------------------------------------------------------------------------

void CancelObject::define(Napi::Env env, Napi::Object exports) {
  exports.Set("CancelToken",
              DefineClass(env, "CancelToken", {InstanceMethod<&CancelObject::cancel>("cancel")}));
}

CancelObject::CancelObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<CancelObject>(info) {
  info.This().As<Napi::Object>().TypeTag(&kCancelTag);
}

std::shared_ptr<CancelFlag> CancelObject::get_optional(const Napi::Value& value) {
  if (value.IsUndefined() || value.IsNull()) return nullptr;
  return unwrap<CancelObject>(value, kCancelTag, "CancelToken")->flag_;
}

void CancelObject::cancel(const Napi::CallbackInfo&) {
  flag_->cancel();
}

}  // namespace ip2p

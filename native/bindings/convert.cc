#include "bindings/convert.h"

#include <ATen/ops/empty.h>

#include <cmath>
#include <cstring>

#include "bindings/environment.h"
#include "bindings/objects.h"
#include "core/error.h"

namespace ip2p {
namespace {

constexpr double kMaxSafeInteger = 9007199254740992.0;
constexpr int kMaxConfigDepth = 32;
constexpr size_t kMaxDims = 64;
constexpr uint32_t kMaxListLength = 1 << 24;

[[noreturn]] void refuse(const char* name, const char* expected) {
  throw Error("ERR_INVALID_ARGUMENT", std::string("argument \"") + name + "\" must be " + expected);
}

int64_t to_integer(double value, const char* name) {
  if (!(std::abs(value) <= kMaxSafeInteger) || value != std::floor(value)) refuse(name, "an integer");
  return static_cast<int64_t>(value);
}

template <class T, class Convert>
std::vector<T> list_argument(const Napi::Value& value, const char* name, Convert convert) {
  if (!value.IsArray()) refuse(name, "an array");
  const auto array = value.As<Napi::Array>();
  // Read once: an element's getter may change it.
  const uint32_t length = array.Length();
  if (length > kMaxListLength) refuse(name, "a shorter list");
  std::vector<T> result;
  result.reserve(length);
  for (uint32_t i = 0; i < length; ++i) result.push_back(convert(array.Get(i), name));
  return result;
}

ConfigValue convert_config(const Napi::Value& value, int depth) {
  if (depth > kMaxConfigDepth) throw Error("ERR_CONFIG", "the configuration is nested too deeply");
  if (value.IsNull() || value.IsUndefined()) return {};
  if (value.IsBoolean()) return ConfigValue(value.As<Napi::Boolean>().Value());
  if (value.IsNumber()) return ConfigValue(value.As<Napi::Number>().DoubleValue());
  if (value.IsString()) return ConfigValue(value.As<Napi::String>().Utf8Value());
  if (value.IsArray()) {
    const auto array = value.As<Napi::Array>();
    ConfigValue::Array items;
    for (uint32_t i = 0; i < array.Length(); ++i) items.push_back(convert_config(array.Get(i), depth + 1));
    return ConfigValue(std::move(items));
  }
  if (value.IsObject()) {
    const auto object = value.As<Napi::Object>();
    const Napi::Array keys = object.GetPropertyNames();
    ConfigValue::Object members;
    for (uint32_t i = 0; i < keys.Length(); ++i) {
      const std::string key = keys.Get(i).ToString();
      members.emplace(key, convert_config(object.Get(key), depth + 1));
    }
    return ConfigValue(std::move(members));
  }
  throw Error("ERR_CONFIG", "the configuration holds a value that JSON has no type for");
}

c10::ScalarType element_type(napi_typedarray_type type) {
  switch (type) {
    case napi_float32_array:
      return c10::kFloat;
    case napi_float64_array:
      return c10::kDouble;
    case napi_bigint64_array:
      return c10::kLong;
    case napi_int32_array:
      return c10::kInt;
    case napi_int16_array:
      return c10::kShort;
    case napi_int8_array:
      return c10::kChar;
    case napi_uint8_array:
    case napi_uint8_clamped_array:
      return c10::kByte;
    default:
      throw Error("ERR_INVALID_ARGUMENT", "a tensor cannot be made from this kind of typed array");
  }
}

napi_typedarray_type array_type(c10::ScalarType type) {
  switch (type) {
    case c10::kFloat:
      return napi_float32_array;
    case c10::kDouble:
      return napi_float64_array;
    case c10::kLong:
      return napi_bigint64_array;
    case c10::kInt:
      return napi_int32_array;
    case c10::kShort:
      return napi_int16_array;
    case c10::kChar:
      return napi_int8_array;
    case c10::kByte:
    case c10::kBool:
      return napi_uint8_array;
    default:
      throw Error("ERR_INTERNAL", "no typed array for this element type");
  }
}

}  // namespace

std::string string_argument(const Napi::Value& value, const char* name) {
  if (!value.IsString()) refuse(name, "a string");
  return value.As<Napi::String>().Utf8Value();
}

double number_argument(const Napi::Value& value, const char* name) {
  if (!value.IsNumber()) refuse(name, "a number");
  return value.As<Napi::Number>().DoubleValue();
}

int64_t integer_argument(const Napi::Value& value, const char* name) {
  return to_integer(number_argument(value, name), name);
}

bool bool_argument(const Napi::Value& value, const char* name) {
  if (!value.IsBoolean()) refuse(name, "true or false");
  return value.As<Napi::Boolean>().Value();
}

std::vector<int64_t> integers_argument(const Napi::Value& value, const char* name) {
  return list_argument<int64_t>(value, name, integer_argument);
}

std::vector<double> numbers_argument(const Napi::Value& value, const char* name) {
  return list_argument<double>(value, name, number_argument);
}

std::vector<std::string> strings_argument(const Napi::Value& value, const char* name) {
  return list_argument<std::string>(value, name, string_argument);
}

std::vector<at::Tensor> tensors_argument(const Napi::Value& value, const char* name) {
  return list_argument<at::Tensor>(
      value, name, [](const Napi::Value& item, const char*) { return TensorObject::get(item); });
}

void require_rank(size_t dimensions, const char* name) {
  if (dimensions <= kMaxDims) return;
  throw Error("ERR_INVALID_ARGUMENT", std::string(name) + " has " + std::to_string(dimensions) +
                                          " dimensions; a tensor has at most " + std::to_string(kMaxDims));
}

std::vector<int64_t> shape_argument(const Napi::Value& value, const char* name) {
  std::vector<int64_t> shape = integers_argument(value, name);
  require_rank(shape.size(), name);
  double count = 1;
  for (const int64_t size : shape) {
    if (size < 0) refuse(name, "a list of sizes that are not negative");
    // Sizes of zero are left out: strides are computed without them too, and must not overflow.
    if (size > 0) count *= static_cast<double>(size);
  }
  if (count > kMaxSafeInteger) refuse(name, "a shape of fewer than 2^53 elements");
  return shape;
}

Napi::Object object_argument(const Napi::Value& value, const char* name) {
  if (!value.IsObject()) refuse(name, "an object");
  return value.As<Napi::Object>();
}

uint64_t unsigned_argument(const Napi::Value& value, const char* name) {
  if (!value.IsBigInt()) refuse(name, "a bigint");
  bool lossless = false;
  const uint64_t result = value.As<Napi::BigInt>().Uint64Value(&lossless);
  if (!lossless) refuse(name, "a bigint in 0..2^64-1");
  return result;
}

TypedArrayView typed_array_argument(const Napi::Value& value, const char* name) {
  if (!value.IsTypedArray()) refuse(name, "a typed array");
  // Called directly, since Napi::TypedArray reads the data through its ArrayBuffer and does not support
  // SharedArrayBuffer.
  TypedArrayView view;
  void* bytes = nullptr;
  const napi_status status =
      napi_get_typedarray_info(value.Env(), value, &view.type, &view.length, &bytes, nullptr, nullptr);
  if (status != napi_ok) refuse(name, "a typed array");
  if (bytes == nullptr) view.length = 0;  // detached
  view.data = bytes;
  return view;
}

ConfigValue config_argument(const Napi::Value& value) {
  return convert_config(value, 0);
}

Napi::Array to_js(Napi::Env env, at::IntArrayRef values) {
  Napi::Array array = Napi::Array::New(env, values.size());
  for (size_t i = 0; i < values.size(); ++i)
    array.Set(static_cast<uint32_t>(i), Napi::Number::New(env, static_cast<double>(values[i])));
  return array;
}

Napi::Value to_typed_array(Napi::Env env, const at::Tensor& tensor) {
  const size_t bytes = tensor.nbytes();
  // V8 needs a non-null pointer and rejects empty external buffers.
  if (bytes == 0) {
    napi_value result = nullptr;
    napi_create_typedarray(env, array_type(tensor.scalar_type()), 0, Napi::ArrayBuffer::New(env, 0), 0,
                           &result);
    return {env, result};
  }
  struct Owner {
    std::shared_ptr<NativeMemory> memory;
    at::Tensor tensor;
  };
  auto owner = std::make_unique<Owner>(Owner{Environment::of(env).memory, tensor});
  const Napi::ArrayBuffer buffer = Napi::ArrayBuffer::New(
      env, owner->tensor.mutable_data_ptr(), bytes,
      [](Napi::Env, void*, Owner* held) {
        const std::unique_ptr<Owner> last(held);
        const auto size = static_cast<int64_t>(held->tensor.nbytes());
        NativeMemory::release(held->memory, std::move(held->tensor), size);
      },
      owner.get());
  owner.release();
  napi_value result = nullptr;
  napi_create_typedarray(env, array_type(tensor.scalar_type()), static_cast<size_t>(tensor.numel()), buffer,
                         0, &result);
  return {env, result};
}

at::Tensor from_typed_array(const Napi::Value& data, c10::ScalarType dtype,
                            const std::vector<int64_t>& shape) {
  const TypedArrayView array = typed_array_argument(data, "data");
  const c10::ScalarType source_type = element_type(array.type);
  // Before anything is allocated. shape_argument() has made sure that the product is exact.
  size_t wanted = 1;
  for (const int64_t size : shape) wanted *= static_cast<size_t>(size);
  if (wanted != array.length)
    throw Error("ERR_INVALID_ARGUMENT", "the data holds " + std::to_string(array.length) +
                                            " elements, the shape asks for " + std::to_string(wanted));
  at::Tensor tensor = at::empty(shape, at::TensorOptions().dtype(source_type));
  if (tensor.nbytes() > 0) std::memcpy(tensor.mutable_data_ptr(), array.data, tensor.nbytes());
  return tensor.to(dtype);
}

}  // namespace ip2p

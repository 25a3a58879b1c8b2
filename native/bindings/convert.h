#pragma once

#include <ATen/core/Tensor.h>
#include <napi.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/config_value.h"
#include "core/error.h"

namespace ip2p {

// Conversions from JavaScript values. TypeScript has validated what a user gave; these are the invariants
// that keep native code safe whatever arrives, and throw ERR_INVALID_ARGUMENT naming the argument.

std::string string_argument(const Napi::Value& value, const char* name);
double number_argument(const Napi::Value& value, const char* name);
int64_t integer_argument(const Napi::Value& value, const char* name);
bool bool_argument(const Napi::Value& value, const char* name);
std::vector<int64_t> integers_argument(const Napi::Value& value, const char* name);
std::vector<double> numbers_argument(const Napi::Value& value, const char* name);
std::vector<std::string> strings_argument(const Napi::Value& value, const char* name);
std::vector<at::Tensor> tensors_argument(const Napi::Value& value, const char* name);

Napi::Object object_argument(const Napi::Value& value, const char* name);
/// A list of objects, each made into what `read` gives.
template <class Read>
auto objects_argument(const Napi::Value& value, const char* name, Read read) {
  if (!value.IsArray()) throw Error("ERR_INVALID_ARGUMENT", std::string(name) + " must be a list");
  const auto list = value.As<Napi::Array>();
  std::vector<decltype(read(std::declval<Napi::Object>()))> result;
  for (uint32_t i = 0; i < list.Length(); ++i) result.push_back(read(object_argument(list.Get(i), name)));
  return result;
}
uint64_t unsigned_argument(const Napi::Value& value, const char* name);

/// The memory of a typed array, over any kind of buffer; valid until JavaScript runs again. Empty if its
/// buffer was transferred.
struct TypedArrayView {
  napi_typedarray_type type = napi_uint8_array;
  size_t length = 0;
  const void* data = nullptr;
};
TypedArrayView typed_array_argument(const Napi::Value& value, const char* name);

/// No tensor has more than 64 dimensions: some of libtorch's operators and safetensors readers take no more.
void require_rank(size_t dimensions, const char* name);

/// A tensor's shape: at most 64 dimensions, no negative size, element count within 2^53.
std::vector<int64_t> shape_argument(const Napi::Value& value, const char* name);

/// Any JSON-like value: null, booleans, numbers, strings, arrays, plain objects.
ConfigValue config_argument(const Napi::Value& value);

Napi::Array to_js(Napi::Env env, at::IntArrayRef values);

/// A typed array that owns `tensor`'s memory; the tensor must be contiguous, on the CPU and not referenced
/// elsewhere. float16 and bfloat16 must have been widened before.
Napi::Value to_typed_array(Napi::Env env, const at::Tensor& tensor);

/// Copies a typed array's elements into a new CPU tensor of the given type and shape.
at::Tensor from_typed_array(const Napi::Value& data, c10::ScalarType dtype,
                            const std::vector<int64_t>& shape);

}  // namespace ip2p

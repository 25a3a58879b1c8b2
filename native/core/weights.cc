#include "core/weights.h"

#include <array>
#include <utility>

#include "core/utf8.h"

namespace ip2p {
namespace {

constexpr std::array<std::pair<SafetensorsDtype, c10::ScalarType>, 10> kTypes{{
    {SafetensorsDtype::kF32, c10::kFloat},
    {SafetensorsDtype::kF64, c10::kDouble},
    {SafetensorsDtype::kBF16, c10::kBFloat16},
    {SafetensorsDtype::kF16, c10::kHalf},
    {SafetensorsDtype::kI64, c10::kLong},
    {SafetensorsDtype::kI32, c10::kInt},
    {SafetensorsDtype::kI16, c10::kShort},
    {SafetensorsDtype::kI8, c10::kChar},
    {SafetensorsDtype::kU8, c10::kByte},
    {SafetensorsDtype::kBool, c10::kBool},
}};

}  // namespace

c10::ScalarType scalar_type(const TensorInfo& info) {
  for (const auto& [stored, type] : kTypes)
    if (stored == info.dtype) return type;
  throw SafetensorsError("tensor " + in_quotes(info.name) + " has type " +
                         std::string(safetensors_dtype_name(info.dtype)) + ", which is not supported");
}

SafetensorsDtype safetensors_dtype(c10::ScalarType type) {
  for (const auto& [stored, known] : kTypes)
    if (known == type) return stored;
  throw SafetensorsError(std::string("a tensor of type ") + c10::toString(type) + " cannot be stored");
}

WeightFile::WeightFile(const std::string& path) : path_(path), file_(SafetensorsFile::open(path)) {}

at::Tensor WeightFile::read(const TensorInfo& info) const {
  c10::ScalarType type;
  try {
    type = scalar_type(info);
  } catch (const SafetensorsError& error) {
    throw SafetensorsError(path_ + ": " + error.what());
  }
  at::Tensor tensor = at::empty(info.shape, at::TensorOptions().dtype(type));
  file_.read(info, {static_cast<std::byte*>(tensor.mutable_data_ptr()), tensor.nbytes()});
  // A file may hold any byte where only 0 and 1 mean something.
  return type == c10::kBool ? tensor.view(c10::kByte).ne(0) : tensor;
}

at::Tensor WeightFile::read(const TensorInfo& info, c10::ScalarType dtype, c10::Device device) const {
  return read(info).to(device, dtype);
}

}  // namespace ip2p

#include "core/weights.h"

#include <algorithm>
#include <array>
#include <utility>

#include "core/error.h"
#include "core/utf8.h"

namespace ip2p {
namespace {

/// Bytes converted at a time: few enough to stay in the CPU cache and to avoid a second full copy.
constexpr int64_t kPieceBytes = int64_t{1} << 18;

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

c10::ScalarType WeightFile::type_of(const TensorInfo& info) const {
  try {
    return scalar_type(info);
  } catch (const SafetensorsError& error) {
    throw SafetensorsError(path_ + ": " + error.what());
  }
}

TensorInfo WeightFile::info_of(const TensorView& view) const {
  const TensorInfo* stored = header().find(view.source);
  if (!stored) throw Error("ERR_STATE_DICT", path_ + ": has no tensor " + in_quotes(view.source));
  const auto element = static_cast<std::uint64_t>(c10::elementSize(type_of(*stored)));
  const std::uint64_t bytes = safetensors_byte_size(stored->dtype, view.shape),
                      present = stored->end - stored->begin;
  if (view.first < 0 || static_cast<std::uint64_t>(view.first) > present / element ||
      bytes > present - static_cast<std::uint64_t>(view.first) * element)
    throw Error("ERR_STATE_DICT", path_ + ": tensor " + in_quotes(view.source) +
                                      " has too few elements for " + in_quotes(view.name));
  const std::uint64_t begin = stored->begin + static_cast<std::uint64_t>(view.first) * element;
  return {view.name, stored->dtype, view.shape, begin, begin + bytes};
}

at::Tensor WeightFile::read(const TensorInfo& info) const {
  const c10::ScalarType type = type_of(info);
  at::Tensor tensor = at::empty(info.shape, at::TensorOptions().dtype(type));
  file_.read(info, {static_cast<std::byte*>(tensor.mutable_data_ptr()), tensor.nbytes()});
  // A file may hold any byte; only 0 and 1 are valid bools.
  return type == c10::kBool ? tensor.view(c10::kByte).ne(0) : tensor;
}

at::Tensor WeightFile::read(const TensorInfo& info, c10::ScalarType dtype, c10::Device device) const {
  const c10::ScalarType stored = type_of(info);
  if (stored == dtype || stored == c10::kBool || !device.is_cpu()) return read(info).to(device, dtype);
  at::Tensor tensor = at::empty(info.shape, at::TensorOptions().dtype(dtype));
  const at::Tensor flat = tensor.view(-1);
  const int64_t bytes = static_cast<int64_t>(c10::elementSize(stored));
  const at::Tensor piece =
      at::empty({std::min(flat.numel(), kPieceBytes / bytes)}, at::TensorOptions().dtype(stored));
  auto* const read_to = static_cast<std::byte*>(piece.mutable_data_ptr());
  for (int64_t first = 0; first < flat.numel(); first += piece.numel()) {
    const int64_t count = std::min(piece.numel(), flat.numel() - first);
    file_.read(info, {read_to, static_cast<std::size_t>(count * bytes)},
               static_cast<std::uint64_t>(first * bytes));
    flat.narrow(0, first, count).copy_(piece.narrow(0, 0, count));
  }
  return tensor;
}

}  // namespace ip2p

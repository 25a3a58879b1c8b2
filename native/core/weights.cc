#include "core/weights.h"

#include <algorithm>
#include <array>
#include <utility>

#include "core/error.h"
#include "core/finite.h"
#include "core/utf8.h"

namespace ip2p {
namespace {

/// Bytes read at a time: few enough to stay in the CPU cache while they are converted and looked at.
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

WeightFile::Read WeightFile::read(const TensorInfo& info, c10::ScalarType dtype, c10::Device device,
                                  bool look_if_finite) const {
  const c10::ScalarType stored = type_of(info);
  if (stored == c10::kBool || !device.is_cpu()) {
    const at::Tensor tensor = read(info).to(device, dtype);
    return {tensor, !look_if_finite || all_finite(tensor)};
  }
  at::Tensor tensor = at::empty(info.shape, at::TensorOptions().dtype(dtype));
  const at::Tensor flat = tensor.view(-1);
  const int64_t bytes = static_cast<int64_t>(c10::elementSize(stored));
  const int64_t most = std::min(flat.numel(), kPieceBytes / bytes);
  const at::Tensor converted =
      stored == dtype ? at::Tensor() : at::empty({most}, at::TensorOptions().dtype(stored));
  bool finite = true;
  for (int64_t first = 0; first < flat.numel(); first += most) {
    const int64_t count = std::min(most, flat.numel() - first);
    const at::Tensor piece = flat.narrow(0, first, count);
    const at::Tensor& read_to = converted.defined() ? converted : piece;
    file_.read(info,
               {static_cast<std::byte*>(read_to.mutable_data_ptr()), static_cast<std::size_t>(count * bytes)},
               static_cast<std::uint64_t>(first * bytes));
    if (converted.defined()) piece.copy_(converted.narrow(0, 0, count));
    // While the piece is in the cache.
    if (look_if_finite && finite) finite = all_finite(piece);
  }
  return {tensor, finite};
}

}  // namespace ip2p

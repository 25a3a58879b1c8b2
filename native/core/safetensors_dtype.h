#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace ip2p {

/// Every element type of the safetensors format, in its order of alignment: files are written with the later
/// ones first. Which of them a Tensor can hold is the tensor layer's business.
enum class SafetensorsDtype : std::uint8_t {
  kBool,
  kF4,
  kF6E2M3,
  kF6E3M2,
  kU8,
  kI8,
  kF8E5M2,
  kF8E4M3,
  kF8E8M0,
  kF8E4M3Fnuz,
  kF8E5M2Fnuz,
  kI16,
  kU16,
  kF16,
  kBF16,
  kI32,
  kU32,
  kF32,
  kC64,
  kF64,
  kI64,
  kU64,
};

/// The type that a header calls "F32", "BF16", "BOOL", …; nothing for a name the format does not have.
std::optional<SafetensorsDtype> parse_safetensors_dtype(std::string_view name);

/// The name in a header.
std::string_view safetensors_dtype_name(SafetensorsDtype dtype);

/// Bits of one element. The 4- and 6-bit types are packed.
unsigned safetensors_dtype_bits(SafetensorsDtype dtype);

}  // namespace ip2p

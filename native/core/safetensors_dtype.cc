#include "core/safetensors_dtype.h"

#include <array>
#include <cstddef>

namespace ip2p {
namespace {

struct Entry {
  SafetensorsDtype dtype;
  std::string_view name;
  unsigned bits;
};

using enum SafetensorsDtype;
constexpr std::array<Entry, 22> kEntries{{
    {kBool, "BOOL", 8},
    {kF4, "F4", 4},
    {kF6E2M3, "F6_E2M3", 6},
    {kF6E3M2, "F6_E3M2", 6},
    {kU8, "U8", 8},
    {kI8, "I8", 8},
    {kF8E5M2, "F8_E5M2", 8},
    {kF8E4M3, "F8_E4M3", 8},
    {kF8E8M0, "F8_E8M0", 8},
    {kF8E4M3Fnuz, "F8_E4M3FNUZ", 8},
    {kF8E5M2Fnuz, "F8_E5M2FNUZ", 8},
    {kI16, "I16", 16},
    {kU16, "U16", 16},
    {kF16, "F16", 16},
    {kBF16, "BF16", 16},
    {kI32, "I32", 32},
    {kU32, "U32", 32},
    {kF32, "F32", 32},
    {kC64, "C64", 64},
    {kF64, "F64", 64},
    {kI64, "I64", 64},
    {kU64, "U64", 64},
}};

constexpr bool in_enum_order() {
  for (std::size_t i = 0; i < kEntries.size(); ++i)
    if (static_cast<std::size_t>(kEntries[i].dtype) != i) return false;
  return true;
}
static_assert(in_enum_order(), "the table is indexed by the enumeration");

}  // namespace

std::optional<SafetensorsDtype> parse_safetensors_dtype(std::string_view name) {
  for (const Entry& entry : kEntries)
    if (entry.name == name) return entry.dtype;
  return std::nullopt;
}

std::string_view safetensors_dtype_name(SafetensorsDtype dtype) {
  return kEntries[static_cast<std::size_t>(dtype)].name;
}

unsigned safetensors_dtype_bits(SafetensorsDtype dtype) {
  return kEntries[static_cast<std::size_t>(dtype)].bits;
}

}  // namespace ip2p

#include "core/dtype.h"

#include <array>
#include <utility>

#include "core/error.h"

namespace ip2p {
namespace {

using c10::ScalarType;
constexpr std::array<std::pair<const char*, ScalarType>, 10> kTypes{{
    {"float32", ScalarType::Float},
    {"float64", ScalarType::Double},
    {"bfloat16", ScalarType::BFloat16},
    {"float16", ScalarType::Half},
    {"int64", ScalarType::Long},
    {"int32", ScalarType::Int},
    {"int16", ScalarType::Short},
    {"int8", ScalarType::Char},
    {"uint8", ScalarType::Byte},
    {"bool", ScalarType::Bool},
}};

}  // namespace

ScalarType parse_dtype(const std::string& name) {
  for (const auto& [known, type] : kTypes)
    if (name == known) return type;
  throw Error("ERR_INVALID_ARGUMENT", "unknown dtype \"" + name + "\"");
}

const char* dtype_name(ScalarType type) {
  for (const auto& [known, value] : kTypes)
    if (value == type) return known;
  throw Error("ERR_INTERNAL", std::string("a tensor of unexpected type ") + c10::toString(type));
}

ScalarType parse_model_dtype(const std::string& name) {
  const ScalarType type = parse_dtype(name);
  if (type != ScalarType::Float && type != ScalarType::BFloat16 && type != ScalarType::Half)
    throw Error("ERR_INVALID_ARGUMENT",
                "a model cannot run in " + name + ": use float32, bfloat16 or float16");
  return type;
}

}  // namespace ip2p

#pragma once

#include <c10/core/ScalarType.h>

#include <string>

namespace ip2p {

/// The element types a Tensor can have, by the names lib/core/tensor.ts uses: float32, float64, bfloat16,
/// float16, int64, int32, int16, int8, uint8, bool. Anything else is ERR_INVALID_ARGUMENT.
c10::ScalarType parse_dtype(const std::string& name);
const char* dtype_name(c10::ScalarType type);

/// As parse_dtype, but only float32, bfloat16 and float16, in which a model can be run.
c10::ScalarType parse_model_dtype(const std::string& name);

}  // namespace ip2p

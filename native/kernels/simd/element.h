#pragma once

#include <stdint.h>

namespace ip2p::IP2P_SIMD {

/// bfloat16 and float16 in memory.
struct BFloat16 {
  uint16_t bits;
};
struct Half {
  uint16_t bits;
};

/// The same bits as another type of vector. MSVC's vectors are structures and need intrinsics to be cast.
template <class To, class From>
inline To same_bits(From x) {
  return __builtin_bit_cast(To, x);
}

}  // namespace ip2p::IP2P_SIMD

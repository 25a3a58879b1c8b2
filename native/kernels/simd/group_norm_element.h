#pragma once

// The group norm of a vector of elements, of one channel or of several.

#include "kernels/simd/activation.h"

namespace ip2p::IP2P_SIMD {

struct Affine {
  Vector centre, scale, offset;
};

template <bool SILU, class Precision>
inline Vector normalised(Vector x, const Affine& a, Precision precision) {
  const Vector v = fma(sub(x, a.centre), a.scale, a.offset);
  if constexpr (SILU) return silu(v, precision);
  return v;
}

/// The gradient of the norm before the activation, and x − centre.
struct NormGradient {
  Vector d, t;
};

template <bool SILU, class Precision>
inline NormGradient norm_gradient(Vector x, Vector dy, const Affine& a, Precision precision) {
  const Vector t = sub(x, a.centre);
  if constexpr (SILU) return {mul(dy, silu_derivative(fma(t, a.scale, a.offset), precision)), t};
  return {dy, t};
}

/// Calls a template <class E, bool SILU> with the types of a block: `work(element, silu)` gets a value of the
/// element type and a tag of the other.
template <bool VALUE>
struct Flag {
  static constexpr bool value = VALUE;
};

template <class Work>
inline void with_types(bool bfloat16, bool silu, const Work& work) {
  if (bfloat16) {
    silu ? work(BFloat16{}, Flag<true>{}) : work(BFloat16{}, Flag<false>{});
  } else {
    silu ? work(float{}, Flag<true>{}) : work(float{}, Flag<false>{});
  }
}

}  // namespace ip2p::IP2P_SIMD

#pragma once

// SIMD vectors of floats: the same code for four (NEON), eight (AVX2) and sixteen lanes (AVX-512). Where one
// of two numbers is NaN, min and max are the second.

#if defined(__AVX512F__)
#include "kernels/simd/vector_avx512.h"
#elif defined(__aarch64__)
#include "kernels/simd/vector_neon.h"
#else
#include "kernels/simd/vector_avx2.h"
#endif

namespace ip2p::IP2P_SIMD {

/// eˣ to about one unit in the last place of a float; 0 below −87.3, what e⁸⁸ is above 88.
inline Vector exp(Vector x) {
  const Vector bounded = min(max(x, set(-87.33654f)), set(88.37626f));
  const Vector n = round(mul(bounded, set(1.44269504f)));
  const Vector r = fma(n, set(-1.42860677e-6f), fma(n, set(-0.693145752f), bounded));
  Vector p = set(1.98412698e-4f);
  p = fma(p, r, set(1.38888889e-3f));
  p = fma(p, r, set(8.33333333e-3f));
  p = fma(p, r, set(4.16666667e-2f));
  p = fma(p, r, set(1.66666667e-1f));
  p = fma(p, r, set(0.5f));
  p = fma(p, r, set(1.0f));
  p = fma(p, r, set(1.0f));
  return scale_by_power_of_two(p, n);
}

}  // namespace ip2p::IP2P_SIMD

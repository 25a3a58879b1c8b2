#pragma once

// Activations and their derivatives. `Precise` is good to about one rounding of a float; `Brief` has a
// relative error under 2e-4, a tenth of bfloat16's rounding error, and takes half the time.

#include "kernels/simd/vector.h"

namespace ip2p::IP2P_SIMD {

struct Precise {};
struct Brief {};

/// The precision for an element type.
template <class E>
struct PrecisionOf;
template <>
struct PrecisionOf<float> {
  using Type = Precise;
};
template <>
struct PrecisionOf<BFloat16> {
  using Type = Brief;
};

template <int N>
inline Vector polynomial(const float (&coefficients)[N], Vector x) {
  Vector p = set(coefficients[N - 1]);
  for (int i = N - 2; i >= 0; --i) p = fma(p, x, set(coefficients[i]));
  return p;
}

inline Vector exp(Vector x, Precise) {
  return exp(x);
}
/// 2ᵗ = 2^floor(t) · 2^(t − floor(t)); relative error 3e-6.
inline Vector exp(Vector x, Brief) {
  const Vector t = mul(x, set(1.44269504f));
  constexpr float FRACTION[] = {1.000002593f, 6.930038360e-1f, 2.414427485e-1f, 5.201147485e-2f,
                                1.353416050e-2f};
#if defined(__AVX512F__)
  const Vector fraction = _mm512_reduce_ps(t, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
  return scale_by_power_of_two(polynomial(FRACTION, fraction), t);  // takes the floor of t
#else
  const Vector bounded = min(max(t, set(-126.0f)), set(126.0f));
  const Vector whole = floor(bounded);
  return scale_by_power_of_two(polynomial(FRACTION, sub(bounded, whole)), whole);
#endif
}

/// 1/x for x ≥ 1
inline Vector reciprocal(Vector x, Precise) {
#if defined(__AVX512F__)
  const Vector y = _mm512_rcp14_ps(x);
  return _mm512_fmadd_ps(_mm512_fnmadd_ps(x, y, set(1.0f)), y, y);
#else
  return div(set(1.0f), x);
#endif
}
inline Vector reciprocal(Vector x, Brief) {
#if defined(__AVX512F__)
  return _mm512_rcp14_ps(x);
#else
  return div(set(1.0f), x);
#endif
}

template <class Precision>
inline Vector sigmoid(Vector x, Precision precision) {
  return reciprocal(add(set(1.0f), exp(sub(set(0.0f), x), precision)), precision);
}

template <class Precision>
inline Vector silu(Vector x, Precision precision) {
  return mul(x, sigmoid(x, precision));
}

/// σ·(1 + x·(1 − σ))
template <class Precision>
inline Vector silu_derivative(Vector x, Precision precision) {
  const Vector s = sigmoid(x, precision);
  return mul(s, fma(x, sub(set(1.0f), s), set(1.0f)));
}

/// Half of the scaled complementary error function at t/√2, t ≥ 0: the normal distribution's tail divided by
/// e^(−t²/2). A polynomial in (t − k)/(t + k), which maps [0, ∞) onto [−1, 1); a minimax fit of the relative
/// error up to t = 10, which is 3e-8 (Precise) and 1e-4 (Brief).
inline Vector scaled_tail(Vector t, Precise precision) {
  constexpr float TAIL[] = {8.480339078e-2f,  -1.559431193e-1f, 1.207457362e-1f,
                            -7.773379561e-2f, 4.049921007e-2f,  -1.612857500e-2f,
                            4.266951517e-3f,  -2.907181622e-4f, -4.114855614e-4f};
  return polynomial(TAIL, fma(set(-9.0f), reciprocal(add(t, set(4.5f)), precision), set(1.0f)));
}
inline Vector scaled_tail(Vector t, Brief precision) {
  constexpr float TAIL[] = {1.037335964e-1f, -1.835022824e-1f, 1.257100237e-1f, -6.508427129e-2f,
                            2.191854885e-2f};
  return polynomial(TAIL, fma(set(-7.2f), reciprocal(add(t, set(3.6f)), precision), set(1.0f)));
}

struct Gelu {
  Vector value, derivative;
};

/// gelu(x) = x·Φ(x), with Φ the normal distribution's cumulative, and Φ(x) + x·φ(x). In the tail t = |x|:
/// gelu = max(x, 0) − t·Φ(−t), which avoids cancellation for negative x.
template <class Precision>
inline Gelu gelu_with_derivative(Vector x, Precision precision) {
  const Vector t = min(max(x, sub(set(0.0f), x)), set(13.0f));
  const Vector density = exp(mul(mul(t, t), set(-0.5f)), precision);
  const Vector tail = mul(density, scaled_tail(t, precision));
  const Vector value = sub(max(set(0.0f), x), mul(t, tail));
  const Vector lower = sub(tail, mul(mul(t, density), set(0.398942280f)));  // the derivative at −t
  return {value, where_greater(x, set(0.0f), sub(set(1.0f), lower), lower)};
}

template <class Precision>
inline Vector gelu(Vector x, Precision precision) {
  return gelu_with_derivative(x, precision).value;  // the unused derivative is optimized away
}

}  // namespace ip2p::IP2P_SIMD

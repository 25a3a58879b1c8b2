#pragma once

// vector.h with sixteen lanes: AVX-512.

#include <immintrin.h>

#include "kernels/simd/element.h"

namespace ip2p::IP2P_SIMD {

constexpr int64_t LANES = 16;
using Vector = __m512;

inline Vector set(float x) {
  return _mm512_set1_ps(x);
}
inline Vector load(const float* p) {
  return _mm512_loadu_ps(p);
}
inline void store(float* p, Vector x) {
  _mm512_storeu_ps(p, x);
}
inline Vector add(Vector a, Vector b) {
  return _mm512_add_ps(a, b);
}
inline Vector sub(Vector a, Vector b) {
  return _mm512_sub_ps(a, b);
}
inline Vector mul(Vector a, Vector b) {
  return _mm512_mul_ps(a, b);
}
inline Vector div(Vector a, Vector b) {
  return _mm512_div_ps(a, b);
}
/// a·b + c
inline Vector fma(Vector a, Vector b, Vector c) {
  return _mm512_fmadd_ps(a, b, c);
}
inline Vector max(Vector a, Vector b) {
  return _mm512_max_ps(a, b);
}
inline Vector min(Vector a, Vector b) {
  return _mm512_min_ps(a, b);
}
inline Vector sqrt(Vector a) {
  return _mm512_sqrt_ps(a);
}
inline Vector round(Vector a) {
  return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
inline float sum(Vector a) {
  return _mm512_reduce_add_ps(a);
}
/// x·2ⁿ for whole n, NaN kept.
inline Vector scale_by_power_of_two(Vector x, Vector n) {
  return _mm512_scalef_ps(x, n);
}
inline Vector load(const BFloat16* p) {
  const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
}
inline void store(BFloat16* p, Vector x) {
#if defined(__AVX512BF16__)
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), same_bits<__m256i>(_mm512_cvtneps_pbh(x)));
#else
  const __m512i bits = _mm512_castps_si512(x);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
  const __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
  rounded = _mm512_mask_mov_epi32(rounded, nan, _mm512_set1_epi32(0x7fc00000));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded, 16)));
#endif
}
inline Vector load(const Half* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
inline void store(Half* p, Vector x) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
}
/// Rounded, and 0 or 255 beyond these; 0 for NaN.
inline void store(uint8_t* p, Vector x) {
  const __m512i whole = _mm512_cvtps_epi32(min(max(x, set(0)), set(255)));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(whole));
}

/// a > b ? yes : no
inline Vector where_greater(Vector a, Vector b, Vector yes, Vector no) {
  return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_GT_OQ), no, yes);
}

}  // namespace ip2p::IP2P_SIMD

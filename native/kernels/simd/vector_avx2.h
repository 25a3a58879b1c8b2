#pragma once

// vector.h with eight lanes: AVX2.

#include <immintrin.h>

#include "kernels/simd/element.h"

namespace ip2p::IP2P_SIMD {

constexpr int64_t LANES = 8;
using Vector = __m256;

inline Vector set(float x) {
  return _mm256_set1_ps(x);
}
inline Vector load(const float* p) {
  return _mm256_loadu_ps(p);
}
inline void store(float* p, Vector x) {
  _mm256_storeu_ps(p, x);
}
inline Vector add(Vector a, Vector b) {
  return _mm256_add_ps(a, b);
}
inline Vector sub(Vector a, Vector b) {
  return _mm256_sub_ps(a, b);
}
inline Vector mul(Vector a, Vector b) {
  return _mm256_mul_ps(a, b);
}
inline Vector div(Vector a, Vector b) {
  return _mm256_div_ps(a, b);
}
/// a·b + c
inline Vector fma(Vector a, Vector b, Vector c) {
  return _mm256_fmadd_ps(a, b, c);
}
inline Vector max(Vector a, Vector b) {
  return _mm256_max_ps(a, b);
}
inline Vector min(Vector a, Vector b) {
  return _mm256_min_ps(a, b);
}
inline Vector sqrt(Vector a) {
  return _mm256_sqrt_ps(a);
}
inline Vector round(Vector a) {
  return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
inline Vector floor(Vector a) {
  return _mm256_floor_ps(a);
}
inline float sum(Vector a) {
  __m128 x = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  x = _mm_add_ps(x, _mm_movehl_ps(x, x));
  return _mm_cvtss_f32(_mm_add_ss(x, _mm_shuffle_ps(x, x, 1)));
}
/// x·2ⁿ for whole n within −126..127, NaN kept.
inline Vector scale_by_power_of_two(Vector x, Vector n) {
  const __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
  return _mm256_mul_ps(x, _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23)));
}
inline Vector load(const BFloat16* p) {
  const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
}
inline void store(BFloat16* p, Vector x) {
  const __m256i bits = _mm256_castps_si256(x);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
  const __m256 nan = _mm256_cmp_ps(x, x, _CMP_UNORD_Q);
  const __m256i kept = _mm256_blendv_epi8(rounded, _mm256_set1_epi32(0x7fc00000), _mm256_castps_si256(nan));
  const __m256i high = _mm256_srli_epi32(kept, 16);
  const __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(high, high), 0x08);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_castsi256_si128(packed));
}
inline Vector load(const Half* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
inline void store(Half* p, Vector x) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
}
/// Rounded, and 0 or 255 beyond these; 0 for NaN.
inline void store(uint8_t* p, Vector x) {
  const __m256i whole = _mm256_cvtps_epi32(min(max(x, set(0)), set(255)));
  const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(whole), _mm256_extracti128_si256(whole, 1));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packus_epi16(words, words));
}

/// a > b ? yes : no
inline Vector where_greater(Vector a, Vector b, Vector yes, Vector no) {
  return _mm256_blendv_ps(no, yes, _mm256_cmp_ps(a, b, _CMP_GT_OQ));
}

}  // namespace ip2p::IP2P_SIMD

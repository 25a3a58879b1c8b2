#pragma once

// vector.h with four lanes: NEON, with bfloat16 conversions where the instruction set has them.

#include <arm_neon.h>

#include "kernels/simd/element.h"

namespace ip2p::IP2P_SIMD {

constexpr int64_t LANES = 4;
using Vector = float32x4_t;

inline Vector set(float x) {
  return vdupq_n_f32(x);
}
inline Vector load(const float* p) {
  return vld1q_f32(p);
}
inline void store(float* p, Vector x) {
  vst1q_f32(p, x);
}
inline Vector add(Vector a, Vector b) {
  return vaddq_f32(a, b);
}
inline Vector sub(Vector a, Vector b) {
  return vsubq_f32(a, b);
}
inline Vector mul(Vector a, Vector b) {
  return vmulq_f32(a, b);
}
inline Vector div(Vector a, Vector b) {
  return vdivq_f32(a, b);
}
/// a·b + c
inline Vector fma(Vector a, Vector b, Vector c) {
  return vfmaq_f32(c, a, b);
}
/// a > b ? yes : no
inline Vector where_greater(Vector a, Vector b, Vector yes, Vector no) {
  return vbslq_f32(vcgtq_f32(a, b), yes, no);
}
// Not vmaxq and vminq, which are NaN where either number is.
inline Vector max(Vector a, Vector b) {
  return where_greater(a, b, a, b);
}
inline Vector min(Vector a, Vector b) {
  return where_greater(b, a, a, b);
}
inline Vector sqrt(Vector a) {
  return vsqrtq_f32(a);
}
inline Vector round(Vector a) {
  return vrndnq_f32(a);
}
inline Vector floor(Vector a) {
  return vrndmq_f32(a);
}
inline float sum(Vector a) {
  return vaddvq_f32(a);
}
/// x·2ⁿ for whole n within −126..127, NaN kept.
inline Vector scale_by_power_of_two(Vector x, Vector n) {
  const int32x4_t exponent = vaddq_s32(vcvtq_s32_f32(n), vdupq_n_s32(127));
  return vmulq_f32(x, vreinterpretq_f32_s32(vshlq_n_s32(exponent, 23)));
}

/// Numbers rounded to bfloat16, as bits.
inline uint16x4_t bfloat16_bits(Vector x) {
#if defined(__ARM_FEATURE_BF16_VECTOR_ARITHMETIC)
  return vreinterpret_u16_bf16(vcvt_bf16_f32(x));
#else
  const uint32x4_t bits = vreinterpretq_u32_f32(x);
  const uint32x4_t odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
  const uint32x4_t rounded = vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7fff)));
  return vshrn_n_u32(vbslq_u32(vceqq_f32(x, x), rounded, vdupq_n_u32(0x7fc00000)), 16);
#endif
}
inline Vector load(const BFloat16* p) {
  return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(&p->bits), 16));
}
inline void store(BFloat16* p, Vector x) {
  vst1_u16(&p->bits, bfloat16_bits(x));
}
inline Vector load(const Half* p) {
  return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(&p->bits)));
}
inline void store(Half* p, Vector x) {
  vst1_u16(&p->bits, vreinterpret_u16_f16(vcvt_f16_f32(x)));
}
/// Rounded, and 0 or 255 beyond these; 0 for NaN.
inline void store(uint8_t* p, Vector x) {
  const uint16x4_t words = vmovn_u32(vcvtnq_u32_f32(min(max(x, set(0)), set(255))));
  const uint8x8_t bytes = vmovn_u16(vcombine_u16(words, words));
  __builtin_memcpy(p, &bytes, 4);
}

}  // namespace ip2p::IP2P_SIMD

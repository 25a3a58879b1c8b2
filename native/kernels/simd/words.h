#pragma once

// Four words of 32 bits, of any type, and prefetching: the same for every instruction set of a processor's
// family.

#include <stdint.h>

#if defined(__aarch64__)
#include <arm_neon.h>
#else
#include <immintrin.h>
#endif

// GCC considers a function that only prefetches to have no effect, and drops calls that it has not inlined.
#if defined(_MSC_VER)
#define IP2P_ALWAYS_INLINE __forceinline
#else
#define IP2P_ALWAYS_INLINE inline __attribute__((always_inline))
#endif

namespace ip2p::IP2P_SIMD {

#if defined(__aarch64__)

using Words = uint32x4_t;

inline Words zero_words() {
  return vdupq_n_u32(0);
}
inline Words load_words(const void* p) {
  return vreinterpretq_u32_u8(vld1q_u8(static_cast<const uint8_t*>(p)));
}
inline void store_words(void* p, Words x) {
  vst1q_u8(static_cast<uint8_t*>(p), vreinterpretq_u8_u32(x));
}
/// Four numbers of 16 bits, in the upper halves of the words.
inline Words load_upper_halves(const void* p) {
  return vshll_n_u16(vreinterpret_u16_u8(vld1_u8(static_cast<const uint8_t*>(p))), 16);
}
inline void transpose(Words (&x)[4]) {
  const uint32x4x2_t a = vtrnq_u32(x[0], x[1]), b = vtrnq_u32(x[2], x[3]);
  x[0] = vcombine_u32(vget_low_u32(a.val[0]), vget_low_u32(b.val[0]));
  x[1] = vcombine_u32(vget_low_u32(a.val[1]), vget_low_u32(b.val[1]));
  x[2] = vcombine_u32(vget_high_u32(a.val[0]), vget_high_u32(b.val[0]));
  x[3] = vcombine_u32(vget_high_u32(a.val[1]), vget_high_u32(b.val[1]));
}
/// Into the first-level cache. Does nothing past the end of memory, like the next.
IP2P_ALWAYS_INLINE void prefetch(const void* address) {
  __builtin_prefetch(address, 0, 3);
}
/// Into the second-level cache.
IP2P_ALWAYS_INLINE void prefetch_far(const void* address) {
  __builtin_prefetch(address, 0, 2);
}

#else

using Words = __m128i;

inline Words zero_words() {
  return _mm_setzero_si128();
}
inline Words load_words(const void* p) {
  return _mm_loadu_si128(static_cast<const __m128i*>(p));
}
inline void store_words(void* p, Words x) {
  _mm_storeu_si128(static_cast<__m128i*>(p), x);
}
/// Four numbers of 16 bits, in the upper halves of the words.
inline Words load_upper_halves(const void* p) {
  return _mm_slli_epi32(_mm_cvtepu16_epi32(_mm_loadl_epi64(static_cast<const __m128i*>(p))), 16);
}
inline void transpose(Words (&x)[4]) {
  const __m128i a = _mm_unpacklo_epi32(x[0], x[1]), b = _mm_unpackhi_epi32(x[0], x[1]);
  const __m128i c = _mm_unpacklo_epi32(x[2], x[3]), d = _mm_unpackhi_epi32(x[2], x[3]);
  x[0] = _mm_unpacklo_epi64(a, c);
  x[1] = _mm_unpackhi_epi64(a, c);
  x[2] = _mm_unpacklo_epi64(b, d);
  x[3] = _mm_unpackhi_epi64(b, d);
}
/// Into the first-level cache. Does nothing past the end of memory, like the next.
IP2P_ALWAYS_INLINE void prefetch(const void* address) {
  _mm_prefetch(static_cast<const char*>(address), _MM_HINT_T0);
}
/// Into the second-level cache.
IP2P_ALWAYS_INLINE void prefetch_far(const void* address) {
  _mm_prefetch(static_cast<const char*>(address), _MM_HINT_T1);
}

#endif

}  // namespace ip2p::IP2P_SIMD

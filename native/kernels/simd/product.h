#pragma once

// Products of small matrices in registers, for the sources of this folder. The right factor is held in
// vectors, `WIDTH` columns at a time; single units of the left factor are broadcast to all lanes. With
// bfloat16 instructions a unit is a pair of numbers that follow each other along the summed axis, otherwise
// one float.

#include "kernels/simd/vector.h"

namespace ip2p::IP2P_SIMD {

// As many accumulators as fit into registers beside the factors.
#if defined(__AVX512F__)
constexpr int ROWS = 12, VECTORS = 2;
#elif defined(__aarch64__)
constexpr int ROWS = 8, VECTORS = 3;
#else
constexpr int ROWS = 4, VECTORS = 3;
#endif
constexpr int64_t WIDTH = VECTORS * LANES;

constexpr int64_t round_up(int64_t n, int64_t multiple) {
  return (n + multiple - 1) / multiple * multiple;
}

struct Float32Arithmetic {
  using Unit = float;
  using UnitVector = Vector;
  /// Numbers in a unit.
  static constexpr int64_t DEPTH = 1;
  /// exponential(x · EXPONENT) = eˣ
  static constexpr float EXPONENT = 1;

  static UnitVector broadcast(const Unit* p) { return set(*p); }
  static UnitVector load_units(const Unit* p) { return load(p); }
  static Vector multiply_add(UnitVector a, UnitVector b, Vector sum) { return fma(a, b, sum); }
  static Vector exponential(Vector x) { return exp(x); }
  /// The units made of row 0, and row 1 if DEPTH is 2.
  static void store_units(Unit* p, const Vector* rows) { store(p, rows[0]); }
  /// A row, LANES numbers along the summed axis.
  static void store_row(Unit* p, Vector row) { store(p, row); }
};

/// 2ˣ for x within 0..1 with a relative error below 8e-5, a fiftieth of bfloat16's rounding error.
inline Vector power_of_two(Vector x) {
  Vector p = set(0.0780245215f);
  p = fma(p, x, set(0.2260671556f));
  p = fma(p, x, set(0.6958335638f));
  return fma(p, x, set(0.9999251962f));
}

#if defined(__AVX512BF16__)
#define IP2P_BFLOAT16_PRODUCTS
struct BFloat16Arithmetic {
  using Unit = uint32_t;
  using UnitVector = __m512i;
  static constexpr int64_t DEPTH = 2;
  static constexpr float EXPONENT = 1.44269504f;

  static UnitVector broadcast(const Unit* p) { return _mm512_set1_epi32(static_cast<int>(*p)); }
  static UnitVector load_units(const Unit* p) { return _mm512_loadu_si512(p); }
  static Vector multiply_add(UnitVector a, UnitVector b, Vector sum) {
    return _mm512_dpbf16_ps(sum, same_bits<__m512bh>(a), same_bits<__m512bh>(b));
  }
  /// 2ˣ
  static Vector exponential(Vector x) {
    const Vector fraction = _mm512_reduce_ps(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
    return _mm512_scalef_ps(power_of_two(fraction), x);
  }
  static void store_units(Unit* p, const Vector* rows) {
    // Row 0 in the lower half of each unit, row 1 in the upper.
    const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23,
                                           7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    const __m512i both = same_bits<__m512i>(_mm512_cvtne2ps_pbh(rows[1], rows[0]));
    _mm512_storeu_si512(p, _mm512_permutexvar_epi16(order, both));
  }
  static void store_row(Unit* p, Vector row) { store(reinterpret_cast<BFloat16*>(p), row); }
};
#elif defined(__ARM_FEATURE_BF16_VECTOR_ARITHMETIC)
#define IP2P_BFLOAT16_PRODUCTS
struct BFloat16Arithmetic {
  using Unit = uint32_t;
  using UnitVector = uint32x4_t;
  static constexpr int64_t DEPTH = 2;
  static constexpr float EXPONENT = 1.44269504f;

  static UnitVector broadcast(const Unit* p) { return vdupq_n_u32(*p); }
  static UnitVector load_units(const Unit* p) { return vld1q_u32(p); }
  static Vector multiply_add(UnitVector a, UnitVector b, Vector sum) {
    return vbfdotq_f32(sum, vreinterpretq_bf16_u32(a), vreinterpretq_bf16_u32(b));
  }
  /// 2ˣ; 2⁻¹²⁶ and 2¹²⁶ beyond these.
  static Vector exponential(Vector x) {
    const Vector bounded = min(max(x, set(-126)), set(126));
    const Vector whole = floor(bounded);
    return scale_by_power_of_two(power_of_two(sub(bounded, whole)), whole);
  }
  static void store_units(Unit* p, const Vector* rows) {
    // Row 0 in the lower half of each unit, row 1 in the upper.
    vst1q_u32(p, vorrq_u32(vmovl_u16(bfloat16_bits(rows[0])), vshll_n_u16(bfloat16_bits(rows[1]), 16)));
  }
  static void store_row(Unit* p, Vector row) { store(reinterpret_cast<BFloat16*>(p), row); }
};
#endif

/// The arithmetic for inputs of a type.
template <class T>
struct ArithmeticFor {
  using Type = Float32Arithmetic;
};
#if defined(IP2P_BFLOAT16_PRODUCTS)
template <>
struct ArithmeticFor<BFloat16> {
  using Type = BFloat16Arithmetic;
};
#endif

/// sums[r][v] += Σᵢ a[r·ROW + i·step] · b[i·b_step + v·LANES],  i < depth
template <class A, int ROW, int R, int V>
inline void accumulate(Vector (&sums)[R][V], const typename A::Unit* a, int64_t step,
                       const typename A::Unit* b, int64_t b_step, int64_t depth) {
  for (int64_t i = 0; i < depth; ++i, a += step, b += b_step) {
    typename A::UnitVector columns[V];
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) columns[v] = A::load_units(b + v * LANES);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const typename A::UnitVector row = A::broadcast(a + r * ROW);
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) sums[r][v] = A::multiply_add(row, columns[v], sums[r][v]);
    }
  }
}

template <int R, int V>
inline void clear(Vector (&sums)[R][V]) {
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) sums[r][v] = set(0);
}

template <int R, int V>
inline void load(Vector (&sums)[R][V], const float* from, int64_t stride) {
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) sums[r][v] = load(from + r * stride + v * LANES);
}

template <int R, int V>
inline void store(float* to, int64_t stride, const Vector (&sums)[R][V]) {
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) store(to + r * stride + v * LANES, sums[r][v]);
}

/// Calls f<rows>() for a number of rows, at most R, that becomes a constant in it.
template <int R = ROWS, class F>
inline void with_rows(int64_t rows, const F& f) {
  if constexpr (R == 1)
    f.template operator()<1>();
  else if (rows == R)
    f.template operator()<R>();
  else
    with_rows<R - 1>(rows, f);
}

/// Cuts rows into tiles of ROWS and a rest: calls f<R>(first row) for each.
template <class F>
inline void for_packed_rows(int64_t rows, const F& f) {
  for (int64_t row = 0; row < rows; row += ROWS)
    with_rows(rows - row < ROWS ? rows - row : ROWS, [&]<int R>() { f.template operator()<R>(row); });
}

/// Cuts rows into tiles of nearly equal height: calls f<R>(first row) for each.
template <class F>
inline void for_row_tiles(int64_t rows, const F& f) {
  const int64_t tiles = (rows + ROWS - 1) / ROWS, height = (rows + tiles - 1) / tiles;
  for (int64_t row = 0; row < rows; row += height) {
    const int64_t left = rows - row;
    with_rows(left < height ? left : height, [&]<int R>() { f.template operator()<R>(row); });
  }
}

/// Cuts columns, a multiple of LANES, into tiles: calls f<V>(first column) for each, V vectors wide.
template <class F>
inline void for_column_tiles(int64_t columns, const F& f) {
  int64_t column = 0;
  for (; column + WIDTH <= columns; column += WIDTH) f.template operator()<VECTORS>(column);
  for (; column < columns; column += LANES) f.template operator()<1>(column);
}

}  // namespace ip2p::IP2P_SIMD

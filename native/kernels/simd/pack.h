#pragma once

// Rows of tensors brought into the layouts of product.h, and back.

#include "kernels/simd/product.h"

namespace ip2p::IP2P_SIMD {

/// Rows of `channels` numbers of a tensor; `stride` numbers from one to the next.
template <class T>
struct RowsOf {
  const T* data;
  int64_t stride, channels;
};

/// Four units in a row: those that begin with channel `channel`, zero where the row has ended.
template <class A, class T>
inline __m128i four_units(const T* row, int64_t channel, int64_t channels) {
  constexpr int64_t COUNT = 4 * A::DEPTH;
  alignas(16) T padded[COUNT];
  const T* from = row + channel;
  if (channel + COUNT > channels) {
    for (int64_t i = 0; i < COUNT; ++i) padded[i] = channel + i < channels ? from[i] : T{};
    from = padded;
  }
  if constexpr (sizeof(T) * COUNT == 16)
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
  else  // bfloat16 to float
    return _mm_slli_epi32(_mm_cvtepu16_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from))), 16);
}

inline void transpose(__m128i (&x)[4]) {
  const __m128i a = _mm_unpacklo_epi32(x[0], x[1]), b = _mm_unpackhi_epi32(x[0], x[1]);
  const __m128i c = _mm_unpacklo_epi32(x[2], x[3]), d = _mm_unpackhi_epi32(x[2], x[3]);
  x[0] = _mm_unpacklo_epi64(a, c);
  x[1] = _mm_unpackhi_epi64(a, c);
  x[2] = _mm_unpacklo_epi64(b, d);
  x[3] = _mm_unpackhi_epi64(b, d);
}

/// Units along a row of `channels` numbers, with those that pack_columns needs for whole steps.
template <class A>
constexpr int64_t column_depth(int64_t channels) {
  return round_up((channels + A::DEPTH - 1) / A::DEPTH, 4);
}

/// Rows first … first + W − 1 become columns: to[unit][W]. Rows from `end` on are zero.
template <class A, int64_t W, class T>
inline void pack_columns(const RowsOf<T>& rows, int64_t first, int64_t end, typename A::Unit* to) {
  static_assert(W % 4 == 0);
  for (int64_t row = 0; row < W; row += 4)
    for (int64_t unit = 0; unit * A::DEPTH < rows.channels; unit += 4) {
      __m128i x[4];
      for (int64_t i = 0; i < 4; ++i)
        x[i] = first + row + i < end ? four_units<A>(rows.data + (first + row + i) * rows.stride,
                                                     unit * A::DEPTH, rows.channels)
                                     : _mm_setzero_si128();
      transpose(x);
      for (int64_t i = 0; i < 4; ++i)
        _mm_storeu_si128(reinterpret_cast<__m128i*>(to + (unit + i) * W + row), x[i]);
    }
}

/// The first n ≤ LANES numbers of a row, zero behind them.
template <class T>
inline Vector load_first(const T* p, int64_t n) {
  if (n >= LANES) return load(p);
  T padded[LANES] = {};
  for (int64_t i = 0; i < n; ++i) padded[i] = p[i];
  return load(padded);
}

template <class T>
inline void store_first(T* p, Vector x, int64_t n) {
  if (n >= LANES) return store(p, x);
  T padded[LANES];
  store(padded, x);
  for (int64_t i = 0; i < n; ++i) p[i] = padded[i];
}

/// Rows first … first + A::DEPTH − 1 become one row of units along them: to[round_up(channels, LANES)]. Rows
/// from `end` on are zero.
template <class A, class T>
inline void pack_row_units(const RowsOf<T>& rows, int64_t first, int64_t end, typename A::Unit* to) {
  for (int64_t channel = 0; channel < rows.channels; channel += LANES) {
    Vector x[A::DEPTH];
    for (int64_t i = 0; i < A::DEPTH; ++i)
      x[i] = first + i < end
                 ? load_first(rows.data + (first + i) * rows.stride + channel, rows.channels - channel)
                 : set(0);
    A::store_units(to + channel, x);
  }
}

/// Columns become rows of a tensor: row r gets factor(r) · from[·][r], r < rows. `from` has W numbers in a
/// row and room for round_up(channels, 4) rows; `line` room for 4 · round_up(channels, LANES) numbers.
template <int64_t W, class T, class Factor>
inline void unpack_columns(const float* from, int64_t channels, T* to, int64_t stride, int64_t rows,
                           float* line, const Factor& factor) {
  const int64_t length = round_up(channels, LANES);
  for (int64_t row = 0; row < rows; row += 4) {
    for (int64_t channel = 0; channel < channels; channel += 4) {
      __m128i x[4];
      for (int64_t i = 0; i < 4; ++i)
        x[i] = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + (channel + i) * W + row));
      transpose(x);
      for (int64_t i = 0; i < 4; ++i)
        _mm_storeu_si128(reinterpret_cast<__m128i*>(line + i * length + channel), x[i]);
    }
    for (int64_t i = 0; i < 4 && row + i < rows; ++i) {
      const Vector by = set(factor(row + i));
      for (int64_t channel = 0; channel < channels; channel += LANES)
        store_first(to + (row + i) * stride + channel, mul(load(line + i * length + channel), by),
                    channels - channel);
    }
  }
}

}  // namespace ip2p::IP2P_SIMD

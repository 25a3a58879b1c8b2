#pragma once

// Packs rows of tensors into the layouts of product.h, and unpacks them.

#include "kernels/simd/product.h"
#include "kernels/simd/words.h"

namespace ip2p::IP2P_SIMD {

/// Rows of `channels` numbers of a tensor; `stride` numbers from one to the next.
template <class T>
struct RowsOf {
  const T* data;
  int64_t stride, count, channels;
};

/// Prefetches rows first … last − 1, as far as they exist: the stride is too large for the hardware
/// prefetcher.
template <class T>
IP2P_ALWAYS_INLINE void prefetch(const RowsOf<T>& rows, int64_t first, int64_t last) {
  for (int64_t row = first; row < last && row < rows.count; ++row) {
    const char* const from = reinterpret_cast<const char*>(rows.data + row * rows.stride);
    const int64_t bytes = rows.channels * static_cast<int64_t>(sizeof(T));
    for (int64_t at = 0; at < bytes; at += 64) prefetch_far(from + at);
    prefetch_far(from + bytes - 1);
  }
}

/// Four units in a row: those that begin with channel `channel`, zero where the row has ended.
template <class A, class T>
inline Words four_units(const T* row, int64_t channel, int64_t channels) {
  constexpr int64_t COUNT = 4 * A::DEPTH;
  alignas(16) T padded[COUNT];
  const T* from = row + channel;
  if (channel + COUNT > channels) {
    for (int64_t i = 0; i < COUNT; ++i) padded[i] = channel + i < channels ? from[i] : T{};
    from = padded;
  }
  if constexpr (sizeof(T) * COUNT == 16)
    return load_words(from);
  else  // bfloat16 to float
    return load_upper_halves(from);
}

/// Units in a row of `channels` numbers, padded for pack_columns.
template <class A>
constexpr int64_t column_depth(int64_t channels) {
  return round_up((channels + A::DEPTH - 1) / A::DEPTH, 4);
}

/// Rows first … first + W − 1 become columns: to[unit][W]. Missing rows are zero.
template <class A, int64_t W, class T>
inline void pack_columns(const RowsOf<T>& rows, int64_t first, typename A::Unit* to) {
  static_assert(W % 4 == 0);
  for (int64_t row = 0; row < W; row += 4)
    for (int64_t unit = 0; unit * A::DEPTH < rows.channels; unit += 4) {
      Words x[4];
      for (int64_t i = 0; i < 4; ++i)
        x[i] = first + row + i < rows.count ? four_units<A>(rows.data + (first + row + i) * rows.stride,
                                                            unit * A::DEPTH, rows.channels)
                                            : zero_words();
      transpose(x);
      for (int64_t i = 0; i < 4; ++i) store_words(to + (unit + i) * W + row, x[i]);
    }
}

#if defined(__AVX512F__)
inline __mmask16 first_lanes(int64_t n) {
  return static_cast<__mmask16>(n < LANES ? (1u << n) - 1 : 0xffff);
}
/// The first n numbers of a row, zero behind them.
inline Vector load_first(const float* p, int64_t n) {
  return _mm512_maskz_loadu_ps(first_lanes(n), p);
}
inline Vector load_first(const BFloat16* p, int64_t n) {
  const __m256i bits = _mm256_maskz_loadu_epi16(first_lanes(n), p);
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
}
inline void store_first(float* p, Vector x, int64_t n) {
  _mm512_mask_storeu_ps(p, first_lanes(n), x);
}
inline void store_first(BFloat16* p, Vector x, int64_t n) {
  BFloat16 all[LANES];
  store(all, x);
  _mm256_mask_storeu_epi16(p, first_lanes(n), _mm256_loadu_si256(reinterpret_cast<const __m256i*>(all)));
}
#else
/// The first n numbers of a row, zero behind them.
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
#endif

/// The channels begin … end − 1, in whole vectors, of rows first … first + A::DEPTH − 1 become one row of
/// units along them. Missing rows count as zero.
template <class A, class T>
inline void pack_row_units(const RowsOf<T>& rows, int64_t first, int64_t begin, int64_t end,
                           typename A::Unit* to) {
  for (int64_t channel = begin; channel < end; channel += LANES, to += LANES) {
    Vector x[A::DEPTH];
    for (int64_t i = 0; i < A::DEPTH; ++i)
      x[i] = first + i < rows.count
                 ? load_first(rows.data + (first + i) * rows.stride + channel, rows.channels - channel)
                 : set(0);
    A::store_units(to, x);
  }
}

/// The same for all channels: to[round_up(channels, LANES)].
template <class A, class T>
inline void pack_row_units(const RowsOf<T>& rows, int64_t first, typename A::Unit* to) {
  pack_row_units<A>(rows, first, 0, rows.channels, to);
}

/// Columns become rows of a tensor: row r gets factor(r) · from[·][r], r < rows. `from` has W numbers in a
/// row and room for round_up(channels, 4) rows; `line` room for 4 · round_up(channels, LANES) numbers.
template <int64_t W, class T, class Factor>
inline void unpack_columns(const float* from, int64_t channels, T* to, int64_t stride, int64_t rows,
                           float* line, const Factor& factor) {
  const int64_t length = round_up(channels, LANES);
  for (int64_t row = 0; row < rows; row += 4) {
    for (int64_t channel = 0; channel < channels; channel += 4) {
      Words x[4];
      for (int64_t i = 0; i < 4; ++i) x[i] = load_words(from + (channel + i) * W + row);
      transpose(x);
      for (int64_t i = 0; i < 4; ++i) store_words(line + i * length + channel, x[i]);
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

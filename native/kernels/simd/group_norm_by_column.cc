// Group norm in channels-last layout: the parameters of a vector of channels are loaded once for a few
// pixels.

#include "kernels/simd/group_norm.h"
#include "kernels/simd/group_norm_element.h"
#include "kernels/simd/partial.h"
#include "kernels/simd/words.h"

namespace ip2p::IP2P_SIMD {
namespace {

constexpr int64_t ROWS_FOR_CENTRE = 8;

template <int ROWS>
struct Rows {};

/// `body(row, Rows<N>)` for N rows at a time, then for the rest one by one.
template <int N, class Body>
inline void for_rows(int64_t rows, const Body& body) {
  int64_t r = 0;
  for (; r + N <= rows; r += N) body(r, Rows<N>{});
  for (; r < rows; ++r) body(r, Rows<1>{});
}

template <class E>
void moments(const FeatureBlock& block, float* centres, float* sums, float* squares) {
  const E* x = static_cast<const E*>(block.x);
  const int64_t rows = block.rows, columns = block.columns;
  const int64_t first = rows < ROWS_FOR_CENTRE ? rows : ROWS_FOR_CENTRE;
  for_vectors(columns, [&](int64_t c, auto lanes) {
    Vector total = set(0.0f);
    for (int64_t r = 0; r < first; ++r) total = add(total, load(x + r * columns + c, lanes));
    store(centres + c, mul(total, set(1.0f / static_cast<float>(first))), lanes);
    store(sums + c, set(0.0f), lanes);
    store(squares + c, set(0.0f), lanes);
  });
  for_rows<8>(rows, [&]<int N>(int64_t row, Rows<N>) {
    for_vectors(columns, [&](int64_t c, auto lanes) {
      const Vector centre = load(centres + c, lanes);
      Vector sum = load(sums + c, lanes), square = load(squares + c, lanes);
      for (int i = 0; i < N; ++i) {
        const E* const from = x + (row + i) * columns + c;
        prefetch(from + N * columns);
        const Vector t = sub(load(from, lanes), centre);
        sum = add(sum, t);
        square = fma(t, t, square);
      }
      store(sums + c, sum, lanes);
      store(squares + c, square, lanes);
    });
  });
}

template <class Lanes>
inline Affine load_affine(const float* affine, int64_t columns, int64_t c, Lanes lanes) {
  return {load(affine + c, lanes), load(affine + columns + c, lanes), load(affine + 2 * columns + c, lanes)};
}

template <class E, bool SILU>
void normalise(const FeatureBlock& block, const float* affine, E* y) {
  const E* x = static_cast<const E*>(block.x);
  const typename PrecisionOf<E>::Type precision;
  for (int64_t row = 0; row < block.rows; ++row, x += block.columns, y += block.columns)
    for_vectors(block.columns, [&](int64_t c, auto lanes) {
      const Affine a = load_affine(affine, block.columns, c, lanes);
      store(y + c, normalised<SILU>(load(x + c, lanes), a, precision), lanes);
    });
}

template <class E, bool SILU>
void gradient_sums(const FeatureBlock& block, const float* affine, const E* dy, float* sums, E* to_d) {
  const E* x = static_cast<const E*>(block.x);
  const typename PrecisionOf<E>::Type precision;
  const int64_t columns = block.columns;
  for (int64_t i = 0; i < GRADIENT_SUMS * columns; ++i) sums[i] = 0;
  for_rows<4>(block.rows, [&]<int N>(int64_t row, Rows<N>) {
    for_vectors(columns, [&](int64_t c, auto lanes) {
      const Affine a = load_affine(affine, columns, c, lanes);
      float* const to = sums + c;
      Vector of_d = load(to, lanes), of_dt = load(to + columns, lanes), of_t = load(to + 2 * columns, lanes);
      for (int i = 0; i < N; ++i) {
        const int64_t at = (row + i) * columns + c;
        prefetch(x + at + N * columns);
        prefetch(dy + at + N * columns);
        const auto [d, t] = norm_gradient<SILU>(load(x + at, lanes), load(dy + at, lanes), a, precision);
        if (to_d) store(to_d + at, d, lanes);
        of_d = add(of_d, d);
        of_dt = fma(d, t, of_dt);
        of_t = add(of_t, t);
      }
      store(to, of_d, lanes);
      store(to + columns, of_dt, lanes);
      store(to + 2 * columns, of_t, lanes);
    });
  });
}

template <class E, bool SILU>
void gradient(const FeatureBlock& block, const float* affine, const E* dy, E* dx) {
  const E* x = static_cast<const E*>(block.x);
  const typename PrecisionOf<E>::Type precision;
  const int64_t columns = block.columns;
  for (int64_t row = 0; row < block.rows; ++row, x += columns, dy += columns, dx += columns)
    for_vectors(columns, [&](int64_t c, auto lanes) {
      const Affine a = load_affine(affine, columns, c, lanes);
      const Vector m = load(affine + 3 * columns + c, lanes), n = load(affine + 4 * columns + c, lanes);
      const auto [d, t] = norm_gradient<SILU>(load(x + c, lanes), load(dy + c, lanes), a, precision);
      store(dx + c, fma(d, a.scale, fma(t, m, n)), lanes);
    });
}

}  // namespace

void moments_by_column(const FeatureBlock& block, float* to) {
  float *const sums = to + block.columns, *const squares = sums + block.columns;
  block.bfloat16 ? moments<BFloat16>(block, to, sums, squares) : moments<float>(block, to, sums, squares);
}

void normalise_by_column(const FeatureBlock& block, const float* affine, bool silu, void* y) {
  with_types(block.bfloat16, silu, [&]<class E, bool SILU>(E, Flag<SILU>) {
    normalise<E, SILU>(block, affine, static_cast<E*>(y));
  });
}

void gradient_sums_by_column(const FeatureBlock& block, const float* affine, bool silu, const void* dy,
                             float* sums, void* to_d) {
  with_types(block.bfloat16, silu, [&]<class E, bool SILU>(E, Flag<SILU>) {
    gradient_sums<E, SILU>(block, affine, static_cast<const E*>(dy), sums, static_cast<E*>(to_d));
  });
}

void gradient_by_column(const FeatureBlock& block, const float* affine, bool silu, const void* dy, void* dx) {
  with_types(block.bfloat16, silu, [&]<class E, bool SILU>(E, Flag<SILU>) {
    gradient<E, SILU>(block, affine, static_cast<const E*>(dy), static_cast<E*>(dx));
  });
}

}  // namespace ip2p::IP2P_SIMD

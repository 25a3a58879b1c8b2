// Group norm where the pixels of a channel lie side by side: every row has its own parameters.

#include "kernels/simd/group_norm.h"
#include "kernels/simd/group_norm_element.h"
#include "kernels/simd/partial.h"

namespace ip2p::IP2P_SIMD {
namespace {

/// Elements whose sum stays in float32; beyond them sums go on in float64.
constexpr int64_t STRETCH = 4096;
constexpr int CHAINS = 4;  // additions do not wait for one another

inline int64_t stretch_at(int64_t at, int64_t n) {
  return n - at < STRETCH ? n - at : STRETCH;
}

/// `body(chain, first, lanes)` for every vector of n elements.
template <class Body>
inline void for_chains(int64_t n, const Body& body) {
  int64_t i = 0;
  for (; i + CHAINS * LANES <= n; i += CHAINS * LANES)
    for (int chain = 0; chain < CHAINS; ++chain) body(chain, i + chain * LANES, Full{});
  for_vectors(n - i, [&](int64_t rest, auto lanes) { body(0, i + rest, lanes); });
}

inline double total(const Vector (&chains)[CHAINS]) {
  return sum(add(add(chains[0], chains[1]), add(chains[2], chains[3])));
}

template <class E>
void moments(const E* x, int64_t n, float& centre_of, float& sum_of, float& square_of) {
  Vector chains[CHAINS] = {set(0.0f), set(0.0f), set(0.0f), set(0.0f)};
  for_chains(stretch_at(0, n), [&](int chain, int64_t i, auto lanes) {
    chains[chain] = add(chains[chain], load(x + i, lanes));
  });
  centre_of = static_cast<float>(total(chains) / static_cast<double>(stretch_at(0, n)));
  const Vector centre = set(centre_of);
  double all = 0, squares = 0;
  for (int64_t at = 0; at < n; at += STRETCH) {
    Vector sums[CHAINS] = {set(0.0f), set(0.0f), set(0.0f), set(0.0f)};
    Vector square_sums[CHAINS] = {set(0.0f), set(0.0f), set(0.0f), set(0.0f)};
    for_chains(stretch_at(at, n), [&](int chain, int64_t i, auto lanes) {
      const Vector t = keep(sub(load(x + at + i, lanes), centre), lanes);
      sums[chain] = add(sums[chain], t);
      square_sums[chain] = fma(t, t, square_sums[chain]);
    });
    all += total(sums);
    squares += total(square_sums);
  }
  sum_of = static_cast<float>(all);
  square_of = static_cast<float>(squares);
}

inline Affine broadcast_affine(const float* affine, int64_t rows, int64_t r) {
  return {set(affine[r]), set(affine[rows + r]), set(affine[2 * rows + r])};
}

template <class E, bool SILU>
void normalise(const FeatureBlock& block, const float* affine, E* y) {
  const typename PrecisionOf<E>::Type precision;
  for (int64_t r = 0; r < block.rows; ++r) {
    const Affine a = broadcast_affine(affine, block.rows, r);
    const E* x = static_cast<const E*>(block.x) + r * block.columns;
    E* const to = y + r * block.columns;
    for_vectors(block.columns, [&](int64_t i, auto lanes) {
      store(to + i, normalised<SILU>(load(x + i, lanes), a, precision), lanes);
    });
  }
}

template <class E, bool SILU>
void gradient_sums(const FeatureBlock& block, const float* affine, const E* gradients, float* sums) {
  const typename PrecisionOf<E>::Type precision;
  for (int64_t r = 0; r < block.rows; ++r) {
    const Affine a = broadcast_affine(affine, block.rows, r);
    double all[GRADIENT_SUMS] = {};
    for (int64_t at = 0; at < block.columns; at += STRETCH) {
      const E* x = static_cast<const E*>(block.x) + r * block.columns + at;
      const E* dy = gradients + r * block.columns + at;
      Vector of_d = set(0.0f), of_dt = set(0.0f), of_t = set(0.0f);
      for_vectors(stretch_at(at, block.columns), [&](int64_t i, auto lanes) {
        // Where there is no element its gradient is zero, but x − centre is not.
        const auto [d, t] = norm_gradient<SILU>(load(x + i, lanes), load(dy + i, lanes), a, precision);
        of_d = add(of_d, d);
        of_dt = fma(d, t, of_dt);
        of_t = add(of_t, keep(t, lanes));
      });
      all[0] += sum(of_d);
      all[1] += sum(of_dt);
      all[2] += sum(of_t);
    }
    for (int64_t i = 0; i < GRADIENT_SUMS; ++i) sums[i * block.rows + r] = static_cast<float>(all[i]);
  }
}

template <class E, bool SILU>
void gradient(const FeatureBlock& block, const float* affine, const E* gradients, E* to) {
  const typename PrecisionOf<E>::Type precision;
  for (int64_t r = 0; r < block.rows; ++r) {
    const Affine a = broadcast_affine(affine, block.rows, r);
    const Vector m = set(affine[3 * block.rows + r]), n = set(affine[4 * block.rows + r]);
    const E* x = static_cast<const E*>(block.x) + r * block.columns;
    const E* dy = gradients + r * block.columns;
    E* const dx = to + r * block.columns;
    for_vectors(block.columns, [&](int64_t i, auto lanes) {
      const auto [d, t] = norm_gradient<SILU>(load(x + i, lanes), load(dy + i, lanes), a, precision);
      store(dx + i, fma(d, a.scale, fma(t, m, n)), lanes);
    });
  }
}

template <class E>
void moments_of_rows(const FeatureBlock& block, float* to) {
  for (int64_t r = 0; r < block.rows; ++r)
    moments(static_cast<const E*>(block.x) + r * block.columns, block.columns, to[r], to[block.rows + r],
            to[2 * block.rows + r]);
}

}  // namespace

void moments_by_row(const FeatureBlock& block, float* to) {
  block.bfloat16 ? moments_of_rows<BFloat16>(block, to) : moments_of_rows<float>(block, to);
}

void normalise_by_row(const FeatureBlock& block, const float* affine, bool silu, void* y) {
  with_types(block.bfloat16, silu, [&]<class E, bool SILU>(E, Flag<SILU>) {
    normalise<E, SILU>(block, affine, static_cast<E*>(y));
  });
}

void gradient_sums_by_row(const FeatureBlock& block, const float* affine, bool silu, const void* dy,
                          float* sums) {
  with_types(block.bfloat16, silu, [&]<class E, bool SILU>(E, Flag<SILU>) {
    gradient_sums<E, SILU>(block, affine, static_cast<const E*>(dy), sums);
  });
}

void gradient_by_row(const FeatureBlock& block, const float* affine, bool silu, const void* dy, void* dx) {
  with_types(block.bfloat16, silu, [&]<class E, bool SILU>(E, Flag<SILU>) {
    gradient<E, SILU>(block, affine, static_cast<const E*>(dy), static_cast<E*>(dx));
  });
}

}  // namespace ip2p::IP2P_SIMD

// Group norm in channels-first layout: each row is a channel with its own parameters.

#include "kernels/simd/group_norm.h"
#include "kernels/simd/group_norm_element.h"
#include "kernels/simd/partial.h"

namespace ip2p::IP2P_SIMD {
namespace {

/// Elements summed in float32; longer sums continue in float64.
constexpr int64_t STRETCH = 4096;
constexpr int CHAINS = 4;  // independent sums, to hide the latency of additions

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

/// Sums of t and t² over rows of any length, in float32 for a stretch, then in float64.
class Sums {
 public:
  void add(int chain, Vector t) {
    sums_[chain] = IP2P_SIMD::add(sums_[chain], t);
    squares_[chain] = fma(t, t, squares_[chain]);
  }

  void count(int64_t elements) {
    if ((pending_ += elements) >= STRETCH) flush();
  }

  void flush() {
    sum += total(sums_);
    square += total(squares_);
    for (int i = 0; i < CHAINS; ++i) sums_[i] = squares_[i] = set(0.0f);
    pending_ = 0;
  }

  double sum = 0, square = 0;

 private:
  Vector sums_[CHAINS] = {set(0.0f), set(0.0f), set(0.0f), set(0.0f)};
  Vector squares_[CHAINS] = {set(0.0f), set(0.0f), set(0.0f), set(0.0f)};
  int64_t pending_ = 0;
};

template <class E>
float mean_of_first(const E* x, int64_t n) {
  Vector chains[CHAINS] = {set(0.0f), set(0.0f), set(0.0f), set(0.0f)};
  for_chains(
      n, [&](int chain, int64_t i, auto lanes) { chains[chain] = add(chains[chain], load(x + i, lanes)); });
  return static_cast<float>(total(chains) / static_cast<double>(n));
}

template <class E>
void moments(const FeatureBlock& block, const float* shift, float* to) {
  const E* x = static_cast<const E*>(block.x);
  const int64_t n = block.columns;
  const float centre_of_x = mean_of_first(x, stretch_at(0, n)), centre_of_shift = shift ? shift[0] : 0.0f;
  const Vector centre = set(centre_of_x);
  Sums sums;
  for (int64_t r = 0; r < block.rows; ++r, x += n) {
    // This order avoids cancellation where x is large relative to its deviation.
    const Vector added = set(shift ? shift[r] - centre_of_shift : 0.0f);
    for (int64_t at = 0; at < n; at += STRETCH) {
      for_chains(stretch_at(at, n), [&](int chain, int64_t i, auto lanes) {
        sums.add(chain, keep(add(sub(load(x + at + i, lanes), centre), added), lanes));
      });
      sums.count(stretch_at(at, n));
    }
  }
  sums.flush();
  to[0] = centre_of_x;
  to[1] = static_cast<float>(sums.sum);
  to[2] = static_cast<float>(sums.square);
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
void gradient_sums(const FeatureBlock& block, const float* affine, const E* gradients, float* sums, E* to_d) {
  const typename PrecisionOf<E>::Type precision;
  for (int64_t r = 0; r < block.rows; ++r) {
    const Affine a = broadcast_affine(affine, block.rows, r);
    double all[GRADIENT_SUMS] = {};
    for (int64_t at = 0; at < block.columns; at += STRETCH) {
      const E* x = static_cast<const E*>(block.x) + r * block.columns + at;
      const E* dy = gradients + r * block.columns + at;
      Vector of_d = set(0.0f), of_dt = set(0.0f), of_t = set(0.0f);
      for_vectors(stretch_at(at, block.columns), [&](int64_t i, auto lanes) {
        // In masked lanes the gradient is zero, but x − centre is not.
        const auto [d, t] = norm_gradient<SILU>(load(x + i, lanes), load(dy + i, lanes), a, precision);
        if (to_d) store(to_d + r * block.columns + at + i, d, lanes);
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

}  // namespace

void group_moments(const FeatureBlock& block, const float* shift, float* to) {
  block.bfloat16 ? moments<BFloat16>(block, shift, to) : moments<float>(block, shift, to);
}

void normalise_by_row(const FeatureBlock& block, const float* affine, bool silu, void* y) {
  with_types(block.bfloat16, silu, [&]<class E, bool SILU>(E, Flag<SILU>) {
    normalise<E, SILU>(block, affine, static_cast<E*>(y));
  });
}

void gradient_sums_by_row(const FeatureBlock& block, const float* affine, bool silu, const void* dy,
                          float* sums, void* to_d) {
  with_types(block.bfloat16, silu, [&]<class E, bool SILU>(E, Flag<SILU>) {
    gradient_sums<E, SILU>(block, affine, static_cast<const E*>(dy), sums, static_cast<E*>(to_d));
  });
}

void gradient_by_row(const FeatureBlock& block, const float* affine, bool silu, const void* dy, void* dx) {
  with_types(block.bfloat16, silu, [&]<class E, bool SILU>(E, Flag<SILU>) {
    gradient<E, SILU>(block, affine, static_cast<const E*>(dy), static_cast<E*>(dx));
  });
}

}  // namespace ip2p::IP2P_SIMD

#pragma once

// Masked access for rows whose length is not a multiple of the lanes: the remainder is a vector with fewer
// active lanes.

#include "kernels/simd/vector.h"

namespace ip2p::IP2P_SIMD {

struct Full {};
struct Part {
  int64_t lanes;
};

template <class E>
inline Vector load(const E* p, Full) {
  return load(p);
}
template <class E>
inline void store(E* p, Vector x, Full) {
  store(p, x);
}
inline Vector keep(Vector x, Full) {
  return x;
}

/// Zero in the lanes that are not there.
template <class E>
inline Vector load(const E* p, Part part) {
  E all[LANES] = {};
  for (int64_t i = 0; i < part.lanes; ++i) all[i] = p[i];
  return load(all);
}
template <class E>
inline void store(E* p, Vector x, Part part) {
  E all[LANES];
  store(all, x);
  for (int64_t i = 0; i < part.lanes; ++i) p[i] = all[i];
}
/// Zero in the lanes that are not there.
inline Vector keep(Vector x, Part part) {
  float all[LANES];
  store(all, x);
  return load(all, part);
}

/// `body(first, lanes)` for every vector of a row of n.
template <class Body>
inline void for_vectors(int64_t n, const Body& body) {
  int64_t i = 0;
  for (; i + LANES <= n; i += LANES) body(i, Full{});
  if (i < n) body(i, Part{n - i});
}

}  // namespace ip2p::IP2P_SIMD

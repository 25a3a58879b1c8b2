#pragma once

// The layout of attention's scratch memory, which the caller allocates.

#include "kernels/simd/attention.h"
#include "kernels/simd/pack.h"

namespace ip2p::IP2P_SIMD {

/// Cuts arrays from a block of memory, or computes its required size.
class Cutter {
 public:
  explicit Cutter(void* base) : base_(static_cast<char*>(base)) {}

  template <class T>
  T* take(int64_t count) {
    T* const part = reinterpret_cast<T*>(base_ + bytes_);
    bytes_ += round_up(count * static_cast<int64_t>(sizeof(T)), 64);
    return part;
  }
  int64_t bytes() const { return bytes_; }

 private:
  char* base_;
  int64_t bytes_ = 0;
};

template <class A>
struct ForwardScratch {
  using Unit = typename A::Unit;
  Unit *queries, *probabilities;
  float *scores, *output, *line;

  /// @param depth units of a query, and `channels` of the output, both with what pads them
  ForwardScratch(Cutter& cutter, int64_t key_block, int64_t depth, int64_t channels) {
    queries = cutter.take<Unit>(depth * WIDTH);
    scores = cutter.take<float>(key_block * WIDTH);
    probabilities = cutter.take<Unit>(key_block / A::DEPTH * WIDTH);
    output = cutter.take<float>(channels * WIDTH);
    line = cutter.take<float>(4 * round_up(channels, LANES));
  }
};

/// Keys in a block of the backward pass.
constexpr int64_t BACKWARD_KEYS = 2 * WIDTH;

/// @tparam Matrices how matrices are packed and multiplied: VectorMatrices or TileMatrices
template <class Matrices>
struct BackwardScratch {
  using A = typename Matrices::A;
  using Unit = typename A::Unit;
  static constexpr int64_t QUERIES = Matrices::QUERIES, BLOCK = QUERIES * BACKWARD_KEYS;
  static_assert(QUERIES % Matrices::ROW_STEP == 0 && BACKWARD_KEYS % Matrices::COLUMN_STEP == 0);
  /// Units of a row, and numbers of a row of gradients.
  int64_t depth, width, queries;
  // For all queries, which are read again for each block of keys; as Matrices packs rows, and what is
  // multiplied with its transpose.
  Unit *query_rows, *gradient_rows, *query_units, *gradient_units;
  float *query_gradient, *logsumexp, *product;
  // For a block of keys. Columns: [unit][BACKWARD_KEYS]; units: [key / DEPTH][width].
  Unit *key_columns, *value_columns, *key_units;
  float *key_gradient, *value_gradient;
  // For a block of keys and queries.
  float *scores, *probability_gradient;
  Unit *probability_units, *score_gradient_units, *score_gradient_rows;
  float* line;

  BackwardScratch(Cutter& cutter, const AttentionShape& shape)
      : depth(Matrices::depth(shape.channels)),
        width(round_up(shape.channels, LANES)),
        queries(shape.keys <= BACKWARD_KEYS ? QUERIES : round_up(shape.queries, QUERIES)) {
    query_rows = cutter.take<Unit>(queries * depth);
    gradient_rows = cutter.take<Unit>(queries * depth);
    query_units = cutter.take<Unit>(queries / A::DEPTH * width);
    gradient_units = cutter.take<Unit>(queries / A::DEPTH * width);
    query_gradient = cutter.take<float>(queries * width);
    logsumexp = cutter.take<float>(queries);
    product = cutter.take<float>(queries);
    key_columns = cutter.take<Unit>(depth * BACKWARD_KEYS);
    value_columns = cutter.take<Unit>(depth * BACKWARD_KEYS);
    key_units = cutter.take<Unit>(BACKWARD_KEYS / A::DEPTH * width);
    key_gradient = cutter.take<float>(width * BACKWARD_KEYS);
    value_gradient = cutter.take<float>(width * BACKWARD_KEYS);
    scores = cutter.take<float>(BLOCK);
    probability_gradient = cutter.take<float>(BLOCK);
    probability_units = cutter.take<Unit>(BLOCK / A::DEPTH);
    score_gradient_units = cutter.take<Unit>(BLOCK / A::DEPTH);
    // A unit is one float here, so both layouts are the same.
    score_gradient_rows = A::DEPTH == 1 ? score_gradient_units : cutter.take<Unit>(BLOCK / A::DEPTH);
    line = cutter.take<float>(4 * width);
  }
};

template <class T>
RowsOf<T> rows_of(const AttentionRows& rows, int64_t count, const AttentionShape& shape) {
  return {static_cast<const T*>(rows.data), rows.stride, count, shape.channels};
}

/// n, n + 1, n + 2, …
inline Vector counting_from(int64_t n) {
  alignas(64) float numbers[LANES];
  for (int64_t i = 0; i < LANES; ++i) numbers[i] = static_cast<float>(n + i);
  return load(numbers);
}

/// The score of a masked key: its exponential is zero relative to any other.
constexpr float MASKED = -1e38f;

}  // namespace ip2p::IP2P_SIMD

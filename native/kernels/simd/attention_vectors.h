#pragma once

// The products of attention by vectors, on every processor.

#include "kernels/simd/attention_memory.h"

namespace ip2p::IP2P_SIMD {

/// How the backward pass packs and multiplies matrices. A left factor has rows in tiles of columns,
/// [row / ROWS][unit][ROWS]; a right factor has rows of units.
template <class T>
struct VectorMatrices {
  using A = typename ArithmeticFor<T>::Type;
  using Unit = typename A::Unit;
  /// What a thread needs while it multiplies: nothing.
  struct Registers {};
  /// Queries in a block, and the steps in which a block's rows and columns are counted.
  static constexpr int64_t QUERIES = 48, ROW_STEP = A::DEPTH, COLUMN_STEP = LANES;
  static_assert(QUERIES % ROWS == 0);

  static int64_t depth(int64_t channels) { return column_depth<A>(channels); }

  /// Packs `count` rows as a left factor.
  static void pack_rows(const RowsOf<T>& rows, int64_t first, int64_t count, int64_t depth, Unit* to) {
    for (int64_t row = 0; row < count; row += ROWS)
      pack_columns<A, ROWS>(rows, first + row, to + row * depth);
  }

  /// Packs `count` rows so that multiply_transposed() takes them.
  static void pack_transposed(const RowsOf<T>& rows, int64_t first, int64_t count, int64_t width, Unit* to) {
    for (int64_t row = 0; row < count; row += A::DEPTH)
      pack_row_units<A>(rows, first + row, to + row / A::DEPTH * width);
  }

  /// Packs BACKWARD_KEYS rows as columns of a right factor.
  static void pack_right(const RowsOf<T>& rows, int64_t first, Unit* to) {
    pack_columns<A, BACKWARD_KEYS>(rows, first, to);
  }

  /// to[row][BACKWARD_KEYS] = Σ over a row's units of left · right
  static void multiply(float* to, const Unit* left, const Unit* right, int64_t channels, int64_t rows,
                       int64_t columns) {
    const int64_t units = (channels + A::DEPTH - 1) / A::DEPTH, depth = VectorMatrices::depth(channels);
    for_packed_rows(rows, [&]<int R>(int64_t row) {
      for_column_tiles(columns, [&]<int V>(int64_t column) {
        Vector sums[R][V];
        clear(sums);
        accumulate<A, 1>(sums, left + row * depth, ROWS, right + column, BACKWARD_KEYS, units);
        store(to + row * BACKWARD_KEYS + column, BACKWARD_KEYS, sums);
      });
    });
  }

  /// to[channel][BACKWARD_KEYS] += Σ over rows of left[row][channel] · right[row]
  static void add_transposed(float* to, const Unit* left, const Unit* right, int64_t channels, int64_t rows,
                             int64_t columns) {
    const int64_t width = round_up(channels, LANES);
    for_row_tiles(channels, [&]<int R>(int64_t channel) {
      for_column_tiles(columns, [&]<int V>(int64_t column) {
        float* const block = to + channel * BACKWARD_KEYS + column;
        Vector sums[R][V];
        load(sums, block, BACKWARD_KEYS);
        accumulate<A, 1>(sums, left + channel, width, right + column, BACKWARD_KEYS, rows / A::DEPTH);
        store(block, BACKWARD_KEYS, sums);
      });
    });
  }

  /// to[row][width] += Σ over columns of left[row][column] · right[column]; rows of `left` have BACKWARD_KEYS
  /// numbers
  static void add_rows(float* to, const Unit* left, const Unit* right, int64_t width, int64_t rows,
                       int64_t columns) {
    constexpr int64_t ROW = BACKWARD_KEYS / A::DEPTH;
    for_packed_rows(rows, [&]<int R>(int64_t row) {
      for_column_tiles(width, [&]<int V>(int64_t channel) {
        float* const block = to + row * width + channel;
        Vector sums[R][V];
        load(sums, block, width);
        accumulate<A, ROW>(sums, left + row * ROW, 1, right + channel, width, columns / A::DEPTH);
        store(block, width, sums);
      });
    });
  }
};

/// Keys and values of a head, packed, and their products with a block of queries in the forward pass.
template <class T>
class VectorProducts {
 public:
  using A = typename ArithmeticFor<T>::Type;
  using Matrices = VectorMatrices<T>;
  using Unit = typename A::Unit;
  static constexpr int64_t KEY_BLOCK = 96;
  static_assert(KEY_BLOCK % ROWS == 0 && KEY_BLOCK % 2 == 0);

  VectorProducts(Cutter& cutter, const AttentionShape& shape)
      : shape_(shape),
        depth_(column_depth<A>(shape.channels)),
        value_width_(round_up(shape.channels, LANES)),
        keys_(cutter.take<Unit>(round_up(shape.keys, ROWS) * depth_)),
        values_(cutter.take<Unit>(round_up(shape.keys, A::DEPTH) / A::DEPTH * value_width_)) {}

  static ForwardScratch<A> scratch(Cutter& cutter, const AttentionShape& shape) {
    return {cutter, KEY_BLOCK, column_depth<A>(shape.channels), round_up(shape.channels, 4)};
  }

  /// The keys and values first … last − 1.
  void pack(const RowsOf<T>& keys, const RowsOf<T>& values, int64_t first, int64_t last) const {
    prefetch(values, first, last);
    for (int64_t key = first; key < last; key += ROWS) pack_columns<A, ROWS>(keys, key, keys_ + key * depth_);
    prefetch(keys, last, last + KEY_BLOCK);
    for (int64_t key = first; key < last; key += A::DEPTH)
      pack_row_units<A>(values, key, values_ + key / A::DEPTH * value_width_);
  }

  void pack_queries(const RowsOf<T>& queries, int64_t first, const ForwardScratch<A>& scratch) const {
    pack_columns<A, WIDTH>(queries, first, scratch.queries);
  }

  /// scores[key][query] of the keys first … first + count − 1, and the maximum over them.
  void score(const ForwardScratch<A>& scratch, int64_t first, int64_t count, int64_t first_query,
             Vector (&maximum)[VECTORS]) const {
    const int64_t units = (shape_.channels + A::DEPTH - 1) / A::DEPTH;
    Vector highest[VECTORS];
    for (int v = 0; v < VECTORS; ++v) highest[v] = set(MASKED);
    for_packed_rows(count, [&]<int R>(int64_t row) {
      const int64_t key = first + row;
      Vector sums[R][VECTORS];
      clear(sums);
      accumulate<A, 1>(sums, keys_ + key * depth_, ROWS, scratch.queries, WIDTH, units);
      if (shape_.causal && key + R - 1 > first_query)
        for (int v = 0; v < VECTORS; ++v) {
          const Vector query = counting_from(first_query + v * LANES);
          for (int r = 0; r < R; ++r)
            sums[r][v] = where_greater(set(static_cast<float>(key + r)), query, set(MASKED), sums[r][v]);
        }
      store(scratch.scores + row * WIDTH, WIDTH, sums);
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
        for (int v = 0; v < VECTORS; ++v) highest[v] = max(highest[v], sums[r][v]);
    });
    for (int v = 0; v < VECTORS; ++v) maximum[v] = highest[v];
  }

  /// output[channel][query] = output · rescale + Σ probability · value
  void add_values(const ForwardScratch<A>& scratch, int64_t first, int64_t count,
                  const Vector (&rescale)[VECTORS]) const {
    const Unit* const values = values_ + first / A::DEPTH * value_width_;
    for_row_tiles(shape_.channels, [&]<int R>(int64_t channel) {
      float* const output = scratch.output + channel * WIDTH;
      Vector sums[R][VECTORS];
      if (first == 0) {
        clear(sums);
      } else {
        load(sums, output, WIDTH);
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
          for (int v = 0; v < VECTORS; ++v) sums[r][v] = mul(sums[r][v], rescale[v]);
      }
      accumulate<A, 1>(sums, values + channel, value_width_, scratch.probabilities, WIDTH,
                       (count + A::DEPTH - 1) / A::DEPTH);
      store(output, WIDTH, sums);
    });
  }

 private:
  const AttentionShape& shape_;
  const int64_t depth_, value_width_;
  /// Keys in tiles of columns, [key / ROWS][unit][ROWS]; values in units of keys, [key / DEPTH][value_width].
  Unit *const keys_, *const values_;
};

}  // namespace ip2p::IP2P_SIMD

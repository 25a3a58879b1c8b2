// Products whose weights are kept in half precision: those of a block of outputs are widened in pieces that
// stay in the first-level cache while all rows are multiplied with them.
#include "kernels/simd/half_product.h"

#include "kernels/simd/column_block.h"
#include "kernels/simd/pack.h"

namespace ip2p::IP2P_SIMD {
namespace {

/// Inputs that are summed before the sums are stored.
constexpr int64_t DEPTH = 128;

int64_t smaller(int64_t a, int64_t b) {
  return a < b ? a : b;
}

template <int V, class Stored>
void widen(const Stored* from, int64_t depth, float* to) {
  for (int64_t i = 0; i < depth * V; ++i) store(to + i * LANES, load(from + i * LANES));
}

template <int V, class Stored>
void multiply(const HalfProduct& product, const ColumnBlock& block, const Stored* packed, int64_t from,
              int64_t to, float* scratch) {
  constexpr int64_t COLUMNS = V * LANES;
  float* const weights = scratch;
  float* const sums = scratch + DEPTH * WIDTH;
  const int64_t rows = to - from;
  for (int64_t first = 0; first < product.inputs; first += DEPTH) {
    const int64_t depth = smaller(DEPTH, product.inputs - first);
    widen<V>(packed + block.offset + first * COLUMNS, depth, weights);
    const float* const x = product.x + (first / DEPTH * product.rows + from) * DEPTH;
    for_packed_rows(rows, [&]<int R>(int64_t row) {
      Vector sum[R][V];
      float* const own = sums + row * COLUMNS;
      if (first == 0)
        clear(sum);
      else
        load(sum, own, COLUMNS);
      accumulate<Float32Arithmetic, static_cast<int>(DEPTH)>(sum, x + row * DEPTH, 1, weights, COLUMNS,
                                                             depth);
      store(own, COLUMNS, sum);
    });
  }
  for (int v = 0; v < V; ++v) {
    const int64_t column = block.first + v * LANES, columns = smaller(LANES, product.outputs - column);
    if (columns <= 0) return;
    const Vector bias = product.bias ? load_first(product.bias + column, columns) : set(0);
    for (int64_t row = 0; row < rows; ++row) {
      const int64_t at = (from + row) * product.outputs + column;
      Vector value = add(load(sums + row * COLUMNS + v * LANES), bias);
      if (product.addend) value = add(value, load_first(product.addend + at, columns));
      store_first(product.y + at, value, columns);
    }
  }
}

}  // namespace

int64_t half_product_input_size(int64_t rows, int64_t inputs) {
  return round_up(inputs, DEPTH) * rows;
}

void half_product_input(const float* x, int64_t stride, int64_t rows, int64_t inputs, int64_t from,
                        int64_t to, float* input) {
  for (int64_t first = 0; first < inputs; first += DEPTH) {
    const int64_t depth = smaller(DEPTH, inputs - first);
    for (int64_t row = from; row < to; ++row) {
      const float* const source = x + row * stride + first;
      float* const target = input + (first / DEPTH * rows + row) * DEPTH;
      for (int64_t i = 0; i < depth; ++i) target[i] = source[i];
    }
  }
}

int64_t half_product_scratch_size(int64_t rows) {
  return (DEPTH + rows) * WIDTH;
}

void half_product(const HalfProduct& product, int64_t index, int64_t from, int64_t to, float* scratch) {
  const ColumnBlock block(index, product.outputs, product.inputs);
  with_weights(product.weights, [&](const auto* packed) {
    with_vectors(block.columns, [&]<int V>() { multiply<V>(product, block, packed, from, to, scratch); });
  });
}

}  // namespace ip2p::IP2P_SIMD

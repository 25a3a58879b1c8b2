#include "kernels/simd/attention_memory.h"

namespace ip2p::IP2P_SIMD {
namespace {

/// The running softmax of a block of queries, one in each lane.
struct Softmax {
  Vector maximum[VECTORS], sum[VECTORS], rescale[VECTORS];
};

/// scores[key][query] of the keys first … first + count − 1, and the maximum over them.
template <class A>
void score(const AttentionShape& shape, const PackedKeys<A>& packed, const ForwardScratch<A>& scratch,
           int64_t first, int64_t count, int64_t first_query, Vector (&maximum)[VECTORS]) {
  const int64_t units = (shape.channels + A::DEPTH - 1) / A::DEPTH;
  Vector highest[VECTORS];
  for (int v = 0; v < VECTORS; ++v) highest[v] = set(MASKED);
  for_packed_rows(count, [&]<int R>(int64_t row) {
    const int64_t key = first + row;
    Vector sums[R][VECTORS];
    clear(sums);
    accumulate<A, 1>(sums, packed.keys + key * packed.depth, ROWS, scratch.queries, WIDTH, units);
    if (shape.causal && key + R - 1 > first_query)
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

/// Turns scores into probabilities relative to the maximum so far.
template <class A>
void exponentiate(const ForwardScratch<A>& scratch, int64_t count, float factor, Softmax& softmax) {
  const Vector by = set(factor);
  Vector shift[VECTORS], sum[VECTORS];
  for (int v = 0; v < VECTORS; ++v) {
    shift[v] = mul(softmax.maximum[v], set(-factor));
    sum[v] = set(0);
  }
  for (int64_t row = 0; row < count; row += A::DEPTH) {
#pragma GCC unroll 4
    for (int v = 0; v < VECTORS; ++v) {
      Vector p[A::DEPTH];
#pragma GCC unroll 2
      for (int i = 0; i < A::DEPTH; ++i) {
        if (i > 0 && row + i >= count) {
          p[i] = set(0);
          continue;
        }
        p[i] = A::exponential(fma(load(scratch.scores + (row + i) * WIDTH + v * LANES), by, shift[v]));
        sum[v] = add(sum[v], p[i]);
      }
      A::store_units(scratch.probabilities + row / A::DEPTH * WIDTH + v * LANES, p);
    }
  }
  for (int v = 0; v < VECTORS; ++v) softmax.sum[v] = fma(softmax.sum[v], softmax.rescale[v], sum[v]);
}

/// output[channel][query] = output · rescale + Σ probability · value
template <class A>
void add_values(const AttentionShape& shape, const PackedKeys<A>& packed, const ForwardScratch<A>& scratch,
                int64_t first, int64_t count, const Softmax& softmax) {
  const typename A::Unit* const values = packed.values + first / A::DEPTH * packed.value_width;
  for_row_tiles(shape.channels, [&]<int R>(int64_t channel) {
    float* const output = scratch.output + channel * WIDTH;
    Vector sums[R][VECTORS];
    if (first == 0) {
      clear(sums);
    } else {
      load(sums, output, WIDTH);
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
        for (int v = 0; v < VECTORS; ++v) sums[r][v] = mul(sums[r][v], softmax.rescale[v]);
    }
    accumulate<A, 1>(sums, values + channel, packed.value_width, scratch.probabilities, WIDTH,
                     (count + A::DEPTH - 1) / A::DEPTH);
    store(output, WIDTH, sums);
  });
}

template <class T>
void forward(const AttentionShape& shape, AttentionRows q, const void* packed_bytes, int64_t first,
             MutableAttentionRows out, float* maximum, float* sum, void* scratch_bytes) {
  using A = typename ArithmeticFor<T>::Type;
  Cutter packed_cutter(const_cast<void*>(packed_bytes)), scratch_cutter(scratch_bytes);
  const PackedKeys<A> packed(packed_cutter, shape);
  const ForwardScratch<A> scratch(scratch_cutter, shape);
  const int64_t rows = shape.queries - first < WIDTH ? shape.queries - first : WIDTH;
  const RowsOf<T> queries = rows_of<T>(q, shape.queries, shape);
  pack_columns<A, WIDTH>(queries, first, scratch.queries);
  prefetch(rows_of<T>({out.data, out.stride}, shape.queries, shape), first, first + rows);
  prefetch(queries, first + WIDTH, first + 2 * WIDTH);

  const int64_t visible = shape.causal && first + rows < shape.keys ? first + rows : shape.keys;
  const float factor = shape.scale * A::EXPONENT;
  Softmax softmax;
  for (int v = 0; v < VECTORS; ++v) {
    softmax.maximum[v] = set(MASKED);
    softmax.sum[v] = softmax.rescale[v] = set(0);
  }
  for (int64_t key = 0; key < visible; key += KEY_BLOCK) {
    const int64_t count = visible - key < KEY_BLOCK ? visible - key : KEY_BLOCK;
    Vector highest[VECTORS];
    score<A>(shape, packed, scratch, key, count, first, highest);
    for (int v = 0; v < VECTORS; ++v) {
      const Vector before = softmax.maximum[v];
      softmax.maximum[v] = max(before, highest[v]);
      if (key > 0) softmax.rescale[v] = A::exponential(mul(sub(before, softmax.maximum[v]), set(factor)));
    }
    exponentiate<A>(scratch, count, factor, softmax);
    add_values<A>(shape, packed, scratch, key, count, softmax);
  }

  float sums[WIDTH], maxima[WIDTH];
  for (int v = 0; v < VECTORS; ++v) {
    store(sums + v * LANES, softmax.sum[v]);
    store(maxima + v * LANES, mul(softmax.maximum[v], set(shape.scale)));
  }
  for (int64_t i = 0; i < rows; ++i) {
    maximum[i] = maxima[i];
    sum[i] = sums[i];
  }
  unpack_columns<WIDTH>(scratch.output, shape.channels, static_cast<T*>(out.data) + first * out.stride,
                        out.stride, rows, scratch.line, [&](int64_t row) { return 1 / sums[row]; });
}

template <class T>
void pack(const AttentionShape& shape, AttentionRows k, AttentionRows v, int64_t first, void* packed_bytes) {
  using A = typename ArithmeticFor<T>::Type;
  Cutter cutter(packed_bytes);
  const PackedKeys<A> packed(cutter, shape);
  const int64_t last = first + KEY_BLOCK < shape.keys ? first + KEY_BLOCK : shape.keys;
  const RowsOf<T> keys = rows_of<T>(k, shape.keys, shape), values = rows_of<T>(v, shape.keys, shape);
  prefetch(values, first, last);
  for (int64_t key = first; key < last; key += ROWS)
    pack_columns<A, ROWS>(keys, key, packed.keys + key * packed.depth);
  prefetch(keys, last, last + KEY_BLOCK);
  for (int64_t key = first; key < last; key += A::DEPTH)
    pack_row_units<A>(values, key, packed.values + key / A::DEPTH * packed.value_width);
}

template <class T>
AttentionLayout layout(const AttentionShape& shape) {
  using A = typename ArithmeticFor<T>::Type;
  Cutter packed(nullptr), forward(nullptr), backward(nullptr);
  PackedKeys<A>(packed, shape);
  ForwardScratch<A>(forward, shape);
  BackwardScratch<A>(backward, shape);
  return {WIDTH, KEY_BLOCK, packed.bytes(), forward.bytes(), backward.bytes()};
}

}  // namespace

AttentionLayout attention_layout(const AttentionShape& shape) {
  return shape.type == AttentionType::BFloat16 ? layout<BFloat16>(shape) : layout<float>(shape);
}

void attention_pack(const AttentionShape& shape, AttentionRows k, AttentionRows v, int64_t first,
                    void* packed) {
  return shape.type == AttentionType::BFloat16 ? pack<BFloat16>(shape, k, v, first, packed)
                                               : pack<float>(shape, k, v, first, packed);
}

void attention_forward(const AttentionShape& shape, AttentionRows q, const void* packed, int64_t first,
                       MutableAttentionRows out, float* maximum, float* sum, void* scratch) {
  return shape.type == AttentionType::BFloat16
             ? forward<BFloat16>(shape, q, packed, first, out, maximum, sum, scratch)
             : forward<float>(shape, q, packed, first, out, maximum, sum, scratch);
}

}  // namespace ip2p::IP2P_SIMD

#include "kernels/simd/attention_products.h"

namespace ip2p::IP2P_SIMD {
namespace {

/// The running softmax of a block of queries, one in each lane.
struct Softmax {
  Vector maximum[VECTORS], sum[VECTORS], rescale[VECTORS];
};

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

template <class T, class Products>
class Forward {
 public:
  using A = typename Products::A;

  static void pack(const AttentionShape& shape, AttentionRows k, AttentionRows v, int64_t first,
                   void* packed) {
    Cutter cutter(packed);
    const int64_t end = first + Products::KEY_BLOCK;
    Products(cutter, shape)
        .pack(rows_of<T>(k, shape.keys, shape), rows_of<T>(v, shape.keys, shape), first,
              end < shape.keys ? end : shape.keys);
  }

  static void run(const AttentionShape& shape, AttentionRows q, const void* packed, int64_t first,
                  MutableAttentionRows out, float* maximum, float* sum, void* scratch_bytes) {
    Cutter packed_cutter(const_cast<void*>(packed)), scratch_cutter(scratch_bytes);
    [[maybe_unused]] const typename Products::Matrices::Registers registers{};
    const Products products(packed_cutter, shape);
    const ForwardScratch<A> scratch = Products::scratch(scratch_cutter, shape);
    const int64_t rows = shape.queries - first < WIDTH ? shape.queries - first : WIDTH;
    const RowsOf<T> queries = rows_of<T>(q, shape.queries, shape);
    products.pack_queries(queries, first, scratch);
    prefetch(rows_of<T>({out.data, out.stride}, shape.queries, shape), first, first + rows);
    prefetch(queries, first + WIDTH, first + 2 * WIDTH);

    const int64_t visible = shape.causal && first + rows < shape.keys ? first + rows : shape.keys;
    const float factor = shape.scale * A::EXPONENT;
    Softmax softmax;
    for (int v = 0; v < VECTORS; ++v) {
      softmax.maximum[v] = set(MASKED);
      softmax.sum[v] = softmax.rescale[v] = set(0);
    }
    for (int64_t key = 0; key < visible; key += Products::KEY_BLOCK) {
      const int64_t count = visible - key < Products::KEY_BLOCK ? visible - key : Products::KEY_BLOCK;
      Vector highest[VECTORS];
      products.score(scratch, key, count, first, highest);
      for (int v = 0; v < VECTORS; ++v) {
        const Vector before = softmax.maximum[v];
        softmax.maximum[v] = max(before, highest[v]);
        if (key > 0) softmax.rescale[v] = A::exponential(mul(sub(before, softmax.maximum[v]), set(factor)));
      }
      exponentiate<A>(scratch, count, factor, softmax);
      products.add_values(scratch, key, count, softmax.rescale);
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

  static AttentionLayout layout(const AttentionShape& shape) {
    Cutter packed(nullptr), forward(nullptr), backward(nullptr);
    Products(packed, shape);
    Products::scratch(forward, shape);
    BackwardScratch<typename Products::Matrices>(backward, shape);
    return {WIDTH, Products::KEY_BLOCK, packed.bytes(), forward.bytes(), backward.bytes()};
  }
};

}  // namespace

AttentionLayout attention_layout(const AttentionShape& shape) {
  return with_products(shape, [&]<class T, class Products>() { return Forward<T, Products>::layout(shape); });
}

void attention_pack(const AttentionShape& shape, AttentionRows k, AttentionRows v, int64_t first,
                    void* packed) {
  with_products(shape,
                [&]<class T, class Products>() { Forward<T, Products>::pack(shape, k, v, first, packed); });
}

void attention_forward(const AttentionShape& shape, AttentionRows q, const void* packed, int64_t first,
                       MutableAttentionRows out, float* maximum, float* sum, void* scratch) {
  with_products(shape, [&]<class T, class Products>() {
    Forward<T, Products>::run(shape, q, packed, first, out, maximum, sum, scratch);
  });
}

}  // namespace ip2p::IP2P_SIMD

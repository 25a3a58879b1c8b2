#include "kernels/simd/attention_memory.h"

namespace ip2p::IP2P_SIMD {
namespace {

/// Keys lie in lanes, queries in rows. The gradients of a block of keys are summed over all queries before
/// the next block begins; those of the queries are summed in memory, block by block in the same order always.
template <class T>
class Backward {
 public:
  using A = typename ArithmeticFor<T>::Type;
  using Unit = typename A::Unit;

  Backward(const AttentionShape& shape, const AttentionBackward& head, Cutter cutter)
      : shape_(shape),
        head_(head),
        memory_(cutter, shape),
        units_((shape.channels + A::DEPTH - 1) / A::DEPTH) {}

  void run() {
    pack_queries();
    relate_outputs();
    for (int64_t i = 0; i < memory_.queries * memory_.width; ++i) memory_.query_gradient[i] = 0;
    for (int64_t key = 0; key < shape_.keys; key += BACKWARD_KEYS) {
      columns_ = block_size(shape_.keys - key, BACKWARD_KEYS, LANES);
      pack_keys(key);
      for (int64_t i = 0; i < shape_.channels * BACKWARD_KEYS; ++i)
        memory_.key_gradient[i] = memory_.value_gradient[i] = 0;
      const int64_t first = shape_.causal ? key / BACKWARD_QUERIES * BACKWARD_QUERIES : 0;
      for (int64_t query = first; query < shape_.queries; query += BACKWARD_QUERIES) {
        rows_ = block_size(shape_.queries - query, BACKWARD_QUERIES, ROWS);
        products(memory_.query_columns, query, memory_.key_columns, memory_.scores);
        products(memory_.gradient_columns, query, memory_.value_columns, memory_.probability_gradient);
        score_gradients(query, key);
        add_to_keys(memory_.gradient_units, query, memory_.probability_units, memory_.value_gradient);
        add_to_keys(memory_.query_units, query, memory_.score_gradient_units, memory_.key_gradient);
        add_to_queries(query);
      }
      write(memory_.key_gradient, head_.k_gradient, key, shape_.scale);
      write(memory_.value_gradient, head_.v_gradient, key, 1);
    }
    write_query_gradient();
  }

 private:
  /// Of what is left; in the last block a part of a tile more.
  static int64_t block_size(int64_t left, int64_t most, int64_t step) {
    return left < most ? round_up(left, step) : most;
  }

  void pack_queries() const {
    const RowsOf<T> queries = rows_of<T>(head_.q, shape_), gradients = rows_of<T>(head_.out_gradient, shape_);
    const int64_t end = shape_.queries;
    for (int64_t row = 0; row < memory_.queries; row += ROWS) {
      pack_columns<A, ROWS>(queries, row, end, memory_.query_columns + row * memory_.depth);
      pack_columns<A, ROWS>(gradients, row, end, memory_.gradient_columns + row * memory_.depth);
    }
    for (int64_t row = 0; row < memory_.queries; row += A::DEPTH) {
      pack_row_units<A>(queries, row, end, memory_.query_units + row / A::DEPTH * memory_.width);
      pack_row_units<A>(gradients, row, end, memory_.gradient_units + row / A::DEPTH * memory_.width);
    }
  }

  /// output · its gradient, which is what the softmax subtracts from every gradient of a row.
  void relate_outputs() const {
    const RowsOf<T> outputs = rows_of<T>(head_.out, shape_),
                    gradients = rows_of<T>(head_.out_gradient, shape_);
    for (int64_t row = 0; row < memory_.queries; ++row) {
      Vector products = set(0);
      if (row < shape_.queries)
        for (int64_t channel = 0; channel < shape_.channels; channel += LANES)
          products =
              fma(load_first(outputs.data + row * outputs.stride + channel, shape_.channels - channel),
                  load_first(gradients.data + row * gradients.stride + channel, shape_.channels - channel),
                  products);
      memory_.product[row] = sum(products);
      memory_.logsumexp[row] = row < shape_.queries ? head_.logsumexp[row] * A::EXPONENT : 0;
    }
  }

  void pack_keys(int64_t key) const {
    const RowsOf<T> keys = rows_of<T>(head_.k, shape_);
    pack_columns<A, BACKWARD_KEYS>(keys, key, shape_.keys, memory_.key_columns);
    pack_columns<A, BACKWARD_KEYS>(rows_of<T>(head_.v, shape_), key, shape_.keys, memory_.value_columns);
    for (int64_t row = 0; row < columns_; row += A::DEPTH)
      pack_row_units<A>(keys, key + row, shape_.keys, memory_.key_units + row / A::DEPTH * memory_.width);
  }

  /// to[query][key] = Σ over channels of queries · keys
  void products(const Unit* queries, int64_t first, const Unit* keys, float* to) const {
    for (int64_t row = 0; row < rows_; row += ROWS)
      for_column_tiles(columns_, [&]<int V>(int64_t column) {
        Vector sums[ROWS][V];
        clear(sums);
        accumulate<A, 1>(sums, queries + (first + row) * memory_.depth, ROWS, keys + column, BACKWARD_KEYS,
                         units_);
        store(to + row * BACKWARD_KEYS + column, BACKWARD_KEYS, sums);
      });
  }

  /// The probabilities of a block and the gradients of its scores, from the scores and the gradients of the
  /// probabilities.
  void score_gradients(int64_t first_query, int64_t first_key) const {
    const Vector factor = set(shape_.scale * A::EXPONENT);
    const bool masked = first_key + BACKWARD_KEYS > shape_.keys ||
                        (shape_.causal && first_key + BACKWARD_KEYS - 1 > first_query);
    for (int64_t row = 0; row < rows_; row += A::DEPTH)
      for (int64_t column = 0; column < columns_; column += LANES) {
        Vector p[A::DEPTH], gradient[A::DEPTH];
#pragma GCC unroll 2
        for (int64_t i = 0; i < A::DEPTH; ++i) {
          const int64_t query = first_query + row + i, at = (row + i) * BACKWARD_KEYS + column;
          p[i] = A::exponential(fma(load(memory_.scores + at), factor, set(-memory_.logsumexp[query])));
          if (masked) {
            const int64_t last = shape_.causal && query < shape_.keys ? query : shape_.keys - 1;
            p[i] =
                where_greater(counting_from(first_key + column), set(static_cast<float>(last)), set(0), p[i]);
          }
          gradient[i] = mul(p[i], sub(load(memory_.probability_gradient + at), set(memory_.product[query])));
          if constexpr (A::DEPTH > 1) A::store_row(memory_.score_gradient_rows + at / A::DEPTH, gradient[i]);
        }
        const int64_t at = row / A::DEPTH * BACKWARD_KEYS + column;
        A::store_units(memory_.probability_units + at, p);
        A::store_units(memory_.score_gradient_units + at, gradient);
      }
  }

  /// to[channel][key] += Σ over queries of units · factors
  void add_to_keys(const Unit* units, int64_t first, const Unit* factors, float* to) const {
    for_row_tiles(shape_.channels, [&]<int R>(int64_t channel) {
      for_column_tiles(columns_, [&]<int V>(int64_t column) {
        float* const block = to + channel * BACKWARD_KEYS + column;
        Vector sums[R][V];
        load(sums, block, BACKWARD_KEYS);
        accumulate<A, 1>(sums, units + first / A::DEPTH * memory_.width + channel, memory_.width,
                         factors + column, BACKWARD_KEYS, rows_ / A::DEPTH);
        store(block, BACKWARD_KEYS, sums);
      });
    });
  }

  /// The gradients of a block of queries += Σ over keys of the scores' gradients · keys
  void add_to_queries(int64_t first) const {
    constexpr int64_t ROW = BACKWARD_KEYS / A::DEPTH;
    for (int64_t row = 0; row < rows_; row += ROWS)
      for_column_tiles(memory_.width, [&]<int V>(int64_t channel) {
        float* const block = memory_.query_gradient + (first + row) * memory_.width + channel;
        Vector sums[ROWS][V];
        load(sums, block, memory_.width);
        accumulate<A, ROW>(sums, memory_.score_gradient_rows + row * ROW, 1, memory_.key_units + channel,
                           memory_.width, columns_ / A::DEPTH);
        store(block, memory_.width, sums);
      });
  }

  void write(const float* gradient, MutableAttentionRows to, int64_t key, float factor) const {
    const int64_t rows = shape_.keys - key < BACKWARD_KEYS ? shape_.keys - key : BACKWARD_KEYS;
    unpack_columns<BACKWARD_KEYS>(gradient, shape_.channels, static_cast<T*>(to.data) + key * to.stride,
                                  to.stride, rows, memory_.line, [factor](int64_t) { return factor; });
  }

  void write_query_gradient() const {
    T* const to = static_cast<T*>(head_.q_gradient.data);
    for (int64_t row = 0; row < shape_.queries; ++row)
      for (int64_t channel = 0; channel < shape_.channels; channel += LANES)
        store_first(to + row * head_.q_gradient.stride + channel,
                    mul(load(memory_.query_gradient + row * memory_.width + channel), set(shape_.scale)),
                    shape_.channels - channel);
  }

  const AttentionShape& shape_;
  const AttentionBackward& head_;
  const BackwardScratch<A> memory_;
  const int64_t units_;
  int64_t columns_ = 0, rows_ = 0;  // of the block
};

}  // namespace

void attention_backward(const AttentionShape& shape, const AttentionBackward& head, void* scratch) {
  if (shape.type == AttentionType::BFloat16)
    Backward<BFloat16>(shape, head, Cutter(scratch)).run();
  else
    Backward<float>(shape, head, Cutter(scratch)).run();
}

}  // namespace ip2p::IP2P_SIMD

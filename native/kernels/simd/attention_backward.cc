#include "kernels/simd/attention_products.h"

namespace ip2p::IP2P_SIMD {
namespace {

/// Keys lie in lanes, queries in rows. The gradients of a block of keys are summed over all queries before
/// the next block begins; those of the queries are summed in memory, block by block, always in the same
/// order.
template <class T, class Matrices>
class Backward {
 public:
  using A = typename Matrices::A;
  using Unit = typename A::Unit;
  static constexpr int64_t QUERIES = Matrices::QUERIES;

  Backward(const AttentionShape& shape, const AttentionBackward& head, Cutter cutter)
      : shape_(shape),
        head_(head),
        queries_(rows_of<T>(head.q, shape.queries, shape)),
        outputs_(rows_of<T>(head.out, shape.queries, shape)),
        out_gradients_(rows_of<T>(head.out_gradient, shape.queries, shape)),
        keys_(rows_of<T>(head.k, shape.keys, shape)),
        values_(rows_of<T>(head.v, shape.keys, shape)),
        memory_(cutter, shape) {}

  void run() {
    [[maybe_unused]] const typename Matrices::Registers registers{};
    for (int64_t key = 0; key < shape_.keys; key += BACKWARD_KEYS) {
      columns_ = block_size(shape_.keys - key, BACKWARD_KEYS, Matrices::COLUMN_STEP);
      pack_keys(key);
      for (int64_t i = 0; i < memory_.width * BACKWARD_KEYS; ++i)
        memory_.key_gradient[i] = memory_.value_gradient[i] = 0;
      const int64_t first = shape_.causal ? key / QUERIES * QUERIES : 0;
      for (int64_t query = first; query < shape_.queries; query += QUERIES) {
        rows_ = block_size(shape_.queries - query, QUERIES, Matrices::ROW_STEP);
        slot_ = query < memory_.queries ? query : 0;
        if (key == 0) begin_queries(query);
        multiply(memory_.query_rows, memory_.key_columns, memory_.scores);
        multiply(memory_.gradient_rows, memory_.value_columns, memory_.probability_gradient);
        score_gradients(query, key);
        add_to_keys(memory_.gradient_units, memory_.probability_units, memory_.value_gradient);
        add_to_keys(memory_.query_units, memory_.score_gradient_units, memory_.key_gradient);
        Matrices::add_rows(memory_.query_gradient + slot_ * memory_.width, memory_.score_gradient_rows,
                           memory_.key_units, memory_.width, rows_, columns_);
        const int64_t end = shape_.causal && query + rows_ < shape_.keys ? query + rows_ : shape_.keys;
        if (key + BACKWARD_KEYS >= end) write_query_gradient(query);
      }
      write(memory_.key_gradient, head_.k_gradient, key, shape_.scale);
      write(memory_.value_gradient, head_.v_gradient, key, 1);
    }
  }

 private:
  /// Size of the remainder, rounded up to whole steps.
  static int64_t block_size(int64_t left, int64_t most, int64_t step) {
    return left < most ? round_up(left, step) : most;
  }

  /// Packs a block of queries and clears their gradients.
  void begin_queries(int64_t query) const {
    const int64_t rows = slot_ * memory_.depth, units = slot_ / A::DEPTH * memory_.width;
    Matrices::pack_rows(queries_, query, rows_, memory_.depth, memory_.query_rows + rows);
    Matrices::pack_rows(out_gradients_, query, rows_, memory_.depth, memory_.gradient_rows + rows);
    Matrices::pack_transposed(queries_, query, rows_, memory_.width, memory_.query_units + units);
    Matrices::pack_transposed(out_gradients_, query, rows_, memory_.width, memory_.gradient_units + units);
    for (int64_t i = 0; i < rows_ * memory_.width; ++i) memory_.query_gradient[slot_ * memory_.width + i] = 0;
    for (int64_t row = 0; row < rows_; ++row) relate_output(query + row, slot_ + row);
    const int64_t next = query + QUERIES, last = next + QUERIES;
    prefetch(queries_, next, last);
    prefetch(out_gradients_, next, last);
    prefetch(outputs_, next, last);
  }

  /// output · its gradient, which is what the softmax subtracts from every gradient of a row.
  void relate_output(int64_t query, int64_t slot) const {
    Vector products = set(0);
    if (query < shape_.queries)
      for (int64_t channel = 0; channel < shape_.channels; channel += LANES)
        products =
            fma(load_first(outputs_.data + query * outputs_.stride + channel, shape_.channels - channel),
                load_first(out_gradients_.data + query * out_gradients_.stride + channel,
                           shape_.channels - channel),
                products);
    memory_.product[slot] = sum(products);
    memory_.logsumexp[slot] = query < shape_.queries ? head_.logsumexp[query] * A::EXPONENT : 0;
  }

  void pack_keys(int64_t key) const {
    Matrices::pack_right(keys_, key, memory_.key_columns);
    Matrices::pack_right(values_, key, memory_.value_columns);
    for (int64_t row = 0; row < columns_; row += A::DEPTH)
      pack_row_units<A>(keys_, key + row, memory_.key_units + row / A::DEPTH * memory_.width);
  }

  /// to[query][key] = Σ over channels of queries · keys
  void multiply(const Unit* queries, const Unit* keys, float* to) const {
    Matrices::multiply(to, queries + slot_ * memory_.depth, keys, shape_.channels, rows_, columns_);
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
          const int64_t query = first_query + row + i, slot = slot_ + row + i;
          const int64_t at = (row + i) * BACKWARD_KEYS + column;
          p[i] = A::exponential(fma(load(memory_.scores + at), factor, set(-memory_.logsumexp[slot])));
          if (masked) {
            const int64_t last = shape_.causal && query < shape_.keys ? query : shape_.keys - 1;
            p[i] =
                where_greater(counting_from(first_key + column), set(static_cast<float>(last)), set(0), p[i]);
          }
          gradient[i] = mul(p[i], sub(load(memory_.probability_gradient + at), set(memory_.product[slot])));
          if constexpr (A::DEPTH > 1) A::store_row(memory_.score_gradient_rows + at / A::DEPTH, gradient[i]);
        }
        const int64_t at = row / A::DEPTH * BACKWARD_KEYS + column;
        A::store_units(memory_.probability_units + at, p);
        A::store_units(memory_.score_gradient_units + at, gradient);
      }
  }

  /// to[channel][key] += Σ over queries of units · factors
  void add_to_keys(const Unit* units, const Unit* factors, float* to) const {
    Matrices::add_transposed(to, units + slot_ / A::DEPTH * memory_.width, factors, shape_.channels, rows_,
                             columns_);
  }

  void write(const float* gradient, MutableAttentionRows to, int64_t key, float factor) const {
    const int64_t rows = shape_.keys - key < BACKWARD_KEYS ? shape_.keys - key : BACKWARD_KEYS;
    unpack_columns<BACKWARD_KEYS>(gradient, shape_.channels, static_cast<T*>(to.data) + key * to.stride,
                                  to.stride, rows, memory_.line, [factor](int64_t) { return factor; });
  }

  void write_query_gradient(int64_t query) const {
    const int64_t rows = shape_.queries - query < rows_ ? shape_.queries - query : rows_;
    T* const to = static_cast<T*>(head_.q_gradient.data) + query * head_.q_gradient.stride;
    const float* const from = memory_.query_gradient + slot_ * memory_.width;
    for (int64_t row = 0; row < rows; ++row)
      for (int64_t channel = 0; channel < shape_.channels; channel += LANES)
        store_first(to + row * head_.q_gradient.stride + channel,
                    mul(load(from + row * memory_.width + channel), set(shape_.scale)),
                    shape_.channels - channel);
  }

  const AttentionShape& shape_;
  const AttentionBackward& head_;
  const RowsOf<T> queries_, outputs_, out_gradients_, keys_, values_;
  const BackwardScratch<Matrices> memory_;
  // The block's size, and the row of its first query.
  int64_t columns_ = 0, rows_ = 0, slot_ = 0;
};

}  // namespace

void attention_backward(const AttentionShape& shape, const AttentionBackward& head, void* scratch) {
  with_products(shape, [&]<class T, class Products>() {
    Backward<T, typename Products::Matrices>(shape, head, Cutter(scratch)).run();
  });
}

}  // namespace ip2p::IP2P_SIMD

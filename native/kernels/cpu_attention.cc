#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_permuted.h>
#include <c10/core/CPUAllocator.h>

#include <algorithm>
#include <cmath>
#include <tuple>
#include <vector>

#include "kernels/registry.h"
#include "kernels/simd/attention.h"

namespace ip2p {
namespace {

using at::Tensor;

/// The kernels need contiguous rows; the strides between rows are free.
Tensor with_plain_rows(const Tensor& x) {
  return x.stride(3) == 1 || x.size(3) == 1 ? x : x.contiguous();
}

/// Allocated as [B,T,H·D], so that joining the heads needs no copy.
Tensor empty_heads(const Tensor& like) {
  return at::empty_permuted(like.sizes(), {0, 2, 1, 3}, like.options().memory_format(std::nullopt));
}

/// The rows of head i of B·H.
AttentionRows head_rows(const Tensor& x, int64_t i) {
  const int64_t offset = i / x.size(1) * x.stride(0) + i % x.size(1) * x.stride(1);
  return {static_cast<const char*>(x.const_data_ptr()) + offset * x.element_size(), x.stride(2)};
}

MutableAttentionRows head_rows_to_write(const Tensor& x, int64_t i) {
  const AttentionRows rows = head_rows(x, i);
  return {const_cast<void*>(rows.data), rows.stride};
}

AttentionShape shape_of(const Tensor& q, const Tensor& k, bool causal) {
  const bool bfloat16 = q.scalar_type() == at::kBFloat16;
  return {bfloat16 ? AttentionType::BFloat16 : AttentionType::Float32,
          q.size(2),
          k.size(2),
          q.size(3),
          static_cast<float>(1 / std::sqrt(static_cast<double>(q.size(3)))),
          causal,
          bfloat16 && !causal && multiplies_tiles()};
}

int64_t divide_up(int64_t n, int64_t by) {
  return (n + by - 1) / by;
}

/// The packed keys and values of the heads for the forward kernel. If every thread has whole heads, it packs
/// them one after the other into the same memory, which stays in its cache; if threads share a head, all
/// heads are packed first.
class PackedHeads {
 public:
  PackedHeads(const AttentionShape& shape, const AttentionLayout& layout, const Tensor& k, const Tensor& v)
      : shape_(shape),
        layout_(layout),
        k_(k),
        v_(v),
        heads_(k.size(0) * k.size(1)),
        blocks_(divide_up(shape.keys, layout.key_block)) {
    if (heads_ >= at::get_num_threads()) return;
    all_ = c10::GetCPUAllocator()->allocate(heads_ * layout.packed_bytes);
    at::parallel_for(0, heads_ * blocks_, 1, [this](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        pack(i / blocks_, i % blocks_, static_cast<char*>(all_.get()) + i / blocks_ * layout_.packed_bytes);
    });
  }

  /// A thread's view.
  class View {
   public:
    explicit View(const PackedHeads& heads) : heads_(heads) {
      if (!heads.all_) own_ = c10::GetCPUAllocator()->allocate(heads.layout_.packed_bytes);
    }

    const void* head(int64_t i) {
      if (heads_.all_) return static_cast<const char*>(heads_.all_.get()) + i * heads_.layout_.packed_bytes;
      for (int64_t block = 0; i != packed_ && block < heads_.blocks_; ++block)
        heads_.pack(i, block, own_.get());
      packed_ = i;
      return own_.get();
    }

   private:
    const PackedHeads& heads_;
    c10::DataPtr own_;
    int64_t packed_ = -1;
  };

 private:
  void pack(int64_t head, int64_t block, void* to) const {
    static const auto pack = IP2P_SELECT_SIMD(attention_pack);
    pack(shape_, head_rows(k_, head), head_rows(v_, head), block * layout_.key_block, to);
  }

  const AttentionShape& shape_;
  const AttentionLayout& layout_;
  const Tensor &k_, &v_;
  const int64_t heads_, blocks_;
  c10::DataPtr all_;
};

std::tuple<Tensor, Tensor> flash_attention(const Tensor& query, const Tensor& key, const Tensor& value,
                                           bool causal) {
  static const auto layout_of = IP2P_SELECT_SIMD(attention_layout);
  static const auto forward = IP2P_SELECT_SIMD(attention_forward);
  const Tensor q = with_plain_rows(query), k = with_plain_rows(key), v = with_plain_rows(value);
  const AttentionShape shape = shape_of(q, k, causal);
  const AttentionLayout layout = layout_of(shape);
  const Tensor out = empty_heads(q);
  const Tensor logsumexp = at::empty({q.size(0), q.size(1), q.size(2)}, q.options().dtype(at::kFloat));
  const PackedHeads packed(shape, layout, k, v);
  float* const sums = logsumexp.mutable_data_ptr<float>();

  const int64_t blocks = divide_up(shape.queries, layout.query_block);
  at::parallel_for(0, q.size(0) * q.size(1) * blocks, 1, [&](int64_t begin, int64_t end) {
    PackedHeads::View keys(packed);
    const c10::DataPtr scratch = c10::GetCPUAllocator()->allocate(layout.forward_scratch_bytes);
    std::vector<float> sum(layout.query_block);
    for (int64_t i = begin; i < end; ++i) {
      const int64_t head = i / blocks, first = i % blocks * layout.query_block;
      float* const maximum = sums + head * shape.queries + first;
      forward(shape, head_rows(q, head), keys.head(head), first, head_rows_to_write(out, head), maximum,
              sum.data(), scratch.get());
      const int64_t count = std::min(layout.query_block, shape.queries - first);
      for (int64_t j = 0; j < count; ++j) maximum[j] += std::log(sum[j]);
    }
  });
  return {out, logsumexp};
}

/// One thread per head, so that its gradients are always summed in the same order.
std::tuple<Tensor, Tensor, Tensor> flash_attention_backward(const Tensor& out_gradient, const Tensor& query,
                                                            const Tensor& key, const Tensor& value,
                                                            const Tensor& out, const Tensor& logsumexp,
                                                            bool causal) {
  static const auto layout_of = IP2P_SELECT_SIMD(attention_layout);
  static const auto backward = IP2P_SELECT_SIMD(attention_backward);
  const Tensor q = with_plain_rows(query), k = with_plain_rows(key), v = with_plain_rows(value);
  const Tensor gradient = with_plain_rows(out_gradient);
  const AttentionShape shape = shape_of(q, k, causal);
  const AttentionLayout layout = layout_of(shape);
  const Tensor q_gradient = empty_heads(q), k_gradient = empty_heads(k), v_gradient = empty_heads(v);
  const float* const sums = logsumexp.const_data_ptr<float>();
  at::parallel_for(0, q.size(0) * q.size(1), 1, [&](int64_t begin, int64_t end) {
    const c10::DataPtr scratch = c10::GetCPUAllocator()->allocate(layout.backward_scratch_bytes);
    for (int64_t head = begin; head < end; ++head) {
      const AttentionBackward work{head_rows(q, head),
                                   head_rows(k, head),
                                   head_rows(v, head),
                                   head_rows(out, head),
                                   head_rows(gradient, head),
                                   sums + head * shape.queries,
                                   head_rows_to_write(q_gradient, head),
                                   head_rows_to_write(k_gradient, head),
                                   head_rows_to_write(v_gradient, head)};
      backward(shape, work, scratch.get());
    }
  });
  return {q_gradient, k_gradient, v_gradient};
}

}  // namespace

const Operators kernels(c10::DispatchKey::CPU, [](torch::Library& library) {
  library.impl("flash_attention", flash_attention);
  library.impl("flash_attention_backward", flash_attention_backward);
});

}  // namespace ip2p

#pragma once

#include <stdint.h>

#include "kernels/simd/instruction_set.h"

// softmax(q·kᵀ · scale) · v for one head at a time, block by block without the matrix of scores, and its
// derivatives. Dao et al. 2022, "FlashAttention"; Dao 2023, "FlashAttention-2".

namespace ip2p {

enum class AttentionType { Float32, BFloat16 };

struct AttentionShape {
  AttentionType type;
  int64_t queries, keys, channels;
  float scale;
  /// Causal: keys after the query are masked.
  bool causal;
  /// Whether it multiplies by tiles, see multiplies_tiles(): only of bfloat16, and not causal.
  bool tiles;
};

/// The rows of one head in a tensor, `stride` numbers from one to the next; the channels of a row are
/// contiguous.
struct AttentionRows {
  const void* data;
  int64_t stride;
};
struct MutableAttentionRows {
  void* data;
  int64_t stride;
};

/// Block sizes for a head, and the bytes of scratch memory it needs.
struct AttentionLayout {
  int64_t query_block, key_block;
  int64_t packed_bytes;
  int64_t forward_scratch_bytes, backward_scratch_bytes;
};

/// Inputs and outputs of a head's backward pass.
struct AttentionBackward {
  AttentionRows q, k, v, out, out_gradient;
  const float* logsumexp;
  MutableAttentionRows q_gradient, k_gradient, v_gradient;
};

}  // namespace ip2p

IP2P_DECLARE_SIMD(AttentionLayout attention_layout(const AttentionShape& shape))

/// Packs the keys and values from `first` to `first + key_block`, as far as there are any, for
/// attention_forward. `first`: a multiple of key_block.
IP2P_DECLARE_SIMD(void attention_pack(const AttentionShape& shape, AttentionRows k, AttentionRows v,
                                      int64_t first, void* packed))

/// The output of the queries from `first` to `first + query_block`, as far as there are any. The log-sum-exp
/// of a query's scores is maximum + log(sum).
IP2P_DECLARE_SIMD(void attention_forward(const AttentionShape& shape, AttentionRows q, const void* packed,
                                         int64_t first, MutableAttentionRows out, float* maximum, float* sum,
                                         void* scratch))

IP2P_DECLARE_SIMD(void attention_backward(const AttentionShape& shape, const AttentionBackward& head,
                                          void* scratch))

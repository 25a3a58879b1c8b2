#pragma once

#include <ATen/core/Tensor.h>

namespace ip2p {

// Memory-efficient attention (block by block, without the score matrix) by this package's kernels. Two
// operators of the dispatcher, ip2p::flash_attention and ip2p::flash_attention_backward, are implemented by
// each backend (kernels/cpu_attention.cc); autograd (kernels/flash_attention.cc) is shared.

/// Whether a kernel supports these tensors.
bool flash_attention_takes(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v);

/// softmax(q·kᵀ / sqrt(D)) · v. q: [B,H,Tq,D], k and v: [B,H,Tk,D] → [B,H,Tq,D], in memory [B,Tq,H,D], so
/// that joining the heads needs no copy.
at::Tensor flash_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, bool causal);

}  // namespace ip2p

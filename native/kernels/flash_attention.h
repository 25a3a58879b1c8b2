#pragma once

#include <ATen/core/Tensor.h>

namespace ip2p {

// Attention block by block, without the matrix of scores, by this package's own kernels. Two operators of
// the dispatcher, ip2p::flash_attention and ip2p::flash_attention_backward, which a backend registers
// (kernels/cpu_attention.cc); the derivative (kernels/flash_attention.cc) is the same for all.

/// Whether there are own kernels for these tensors.
bool flash_attention_takes(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v);

/// softmax(q·kᵀ / sqrt(D)) · v.  q: [B,H,Tq,D], k and v: [B,H,Tk,D] → [B,H,Tq,D], in memory [B,Tq,H,D] so
/// that joining the heads costs nothing.
at::Tensor flash_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, bool causal);

}  // namespace ip2p

#pragma once

#include <ATen/core/Tensor.h>

namespace ip2p {

// The operators that layers use. Each is registered with libtorch's dispatcher (kernels/registry.h), so a
// backend can add an implementation without changes to the models. B batch, H heads, T tokens, D channels per
// head.

/// How attention is computed. `Math` materialises the scores and is the tests' reference implementation;
/// `Auto` never does.
enum class AttentionBackend : int64_t { Auto = 0, Math = 1 };

/// softmax(q·kᵀ / sqrt(D)) · v.  q: [B,H,Tq,D], k and v: [B,H,Tk,D]; `causal` masks keys behind the query. →
/// [B,H,Tq,D]
at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, bool causal,
                     AttentionBackend backend);

/// The norm over C/groups channels and all pixels of x: [B,C,...].
at::Tensor group_norm(const at::Tensor& x, int64_t groups, const at::Tensor& weight, const at::Tensor& bias,
                      double eps);

/// silu(group_norm(x)), or with `shift` [B,C] or [1,C], broadcast over the pixels: silu(group_norm(x +
/// shift)).
at::Tensor group_norm_silu(const at::Tensor& x, int64_t groups, const at::Tensor& weight,
                           const at::Tensor& bias, double eps,
                           const std::optional<at::Tensor>& shift = std::nullopt);

/// The gated half of a feed-forward: a · gelu(b) with [a, b] = chunk(x, 2) on the last axis.
/// Shazeer 2020, "GLU Variants Improve Transformer".
at::Tensor geglu(const at::Tensor& x);

// The reference implementations, composed of libtorch's operators: the fallback for backends without a
// kernel, and what tests compare with.
at::Tensor group_norm_plain(const at::Tensor& x, int64_t groups, const at::Tensor& weight,
                            const at::Tensor& bias, double eps, bool silu,
                            const std::optional<at::Tensor>& shift = std::nullopt);
at::Tensor geglu_plain(const at::Tensor& x);

}  // namespace ip2p

#pragma once

#include <ATen/core/Tensor.h>

namespace ip2p {

// The operators layers are made of. Each is registered with libtorch's dispatcher (kernels/registry.h), so a
// backend can add its own implementation without a model knowing. B batch, H heads, T
// tokens, D channels per head.

/// How attention is computed. `Math` materialises the scores and is the oracle of the tests; `Auto` never
/// does.
enum class AttentionBackend : int64_t { Auto = 0, Math = 1 };

/// softmax(q·kᵀ / sqrt(D)) · v.  q: [B,H,Tq,D], k and v: [B,H,Tk,D]; `causal` masks keys behind the query. →
/// [B,H,Tq,D]
at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, bool causal,
                     AttentionBackend backend);

/// The norm over C/groups channels and all pixels of x: [B,C,...].
at::Tensor group_norm(const at::Tensor& x, int64_t groups, const at::Tensor& weight, const at::Tensor& bias,
                      double eps);

/// silu(group_norm(x)), or with `shift` [B,C] or [1,C], which every pixel gets added: silu(group_norm(x +
/// shift)).
at::Tensor group_norm_silu(const at::Tensor& x, int64_t groups, const at::Tensor& weight,
                           const at::Tensor& bias, double eps,
                           const std::optional<at::Tensor>& shift = std::nullopt);

/// The gated half of a feed-forward: a · gelu(b) with [a, b] = chunk(x, 2) on the last axis.
/// Shazeer 2020, "GLU Variants Improve Transformer".
at::Tensor geglu(const at::Tensor& x);

// The same, composed of libtorch's operators: what runs where a backend has no kernel of its own, and the
// oracle of the tests.
at::Tensor group_norm_plain(const at::Tensor& x, int64_t groups, const at::Tensor& weight,
                            const at::Tensor& bias, double eps, bool silu,
                            const std::optional<at::Tensor>& shift = std::nullopt);
at::Tensor geglu_plain(const at::Tensor& x);

}  // namespace ip2p

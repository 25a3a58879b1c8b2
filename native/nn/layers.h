#pragma once

#include <functional>
#include <string>

#include "kernels/packed.h"
#include "nn/module.h"

namespace ip2p {

/// y = x·Wᵀ + b (+ addend).  x: [..., in] → [..., out]
class Linear : public Module {
 public:
  Linear(int64_t in_features, int64_t out_features, bool bias = true);
  at::Tensor forward(const at::Tensor& x, const at::Tensor& addend = {}) const;
  void quantize() override { weight_.keep_as_int8(); }

 private:
  at::Tensor product(const at::Tensor& x, const at::Tensor& addend) const;

  Parameter weight_, bias_;
};

/// x: [B,in,H,W] → [B,out,H',W'] (+ addend). With packed weights the result is channels-last.
class Conv2d : public Module {
 public:
  Conv2d(int64_t in_channels, int64_t out_channels, int64_t kernel, int64_t stride = 1, int64_t padding = 0,
         bool bias = true);
  at::Tensor forward(const at::Tensor& x, const at::Tensor& addend = {}) const;

  /// forward() of x upsampled 2× by nearest neighbours, for a 3×3 kernel of stride 1 and padding 1.
  at::Tensor forward_upsampled(const at::Tensor& x) const;

  /// libtorch's convolution, whose result keeps the memory layout of its input: random tensors drawn "like"
  /// the result depend on that layout.
  at::Tensor forward_plain(const at::Tensor& x, at::MemoryFormat layout) const;

  void quantize() override { weight_.keep_as_int8(); }
  /// Quantizes forward_upsampled() only: its phase kernels are derived from the exact weight, which is kept.
  void quantize_upsampled() { int8_upsampled_ = true; }

 private:
  std::optional<at::Tensor> bias() const;
  at::Tensor product(const at::Tensor& x, const at::Tensor& addend) const;
  at::Tensor upsampled_product(const at::Tensor& x) const;
  at::Tensor plain_conv2d(const at::Tensor& x) const;

  Parameter weight_, bias_;
  Conv2dGeometry geometry_;
  bool int8_upsampled_ = false;
};

/// Wu & He 2018, "Group Normalization".  x: [B,C,...]
class GroupNorm : public Module {
 public:
  GroupNorm(int64_t groups, int64_t channels, double eps);
  at::Tensor forward(const at::Tensor& x) const;
  /// silu(forward(x)) in one operator, or silu(forward(x + shift)) with shift: [B,C] for all pixels.
  at::Tensor forward_silu(const at::Tensor& x, const std::optional<at::Tensor>& shift = std::nullopt) const;

 private:
  Parameter weight_, bias_;
  int64_t groups_;
  double eps_;
};

/// x: [...,D]
class LayerNorm : public Module {
 public:
  LayerNorm(int64_t features, double eps);
  at::Tensor forward(const at::Tensor& x) const;

 private:
  Parameter weight_, bias_;
  double eps_;
};

/// ids: int64 [...] → [...,D]
class Embedding : public Module {
 public:
  Embedding(int64_t count, int64_t features);
  at::Tensor forward(const at::Tensor& ids) const;

 private:
  Parameter weight_;
};

using Activation = std::function<at::Tensor(const at::Tensor&)>;

/// An activation by the name configurations use: silu (swish), mish, gelu, relu, quick_gelu. ERR_CONFIG names
/// any other.
Activation activation(const std::string& name);
bool is_silu(const std::string& name);

}  // namespace ip2p

#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "training/optimizer.h"

namespace ip2p {

/// Trained weights of products that are kept in bfloat16, without float32 copies: an optimizer computes its
/// update in float32, part by part, and the result is rounded so that updates smaller than a bfloat16 step
/// still count (Zamirai et al. 2020, "Revisiting BFloat16 Training", https://arxiv.org/abs/2010.06192). On
/// the CPU.
class BFloat16Weights {
 public:
  /// Replaces the float32 weights of all products by bfloat16 ones; without options, holds none.
  BFloat16Weights(const std::vector<NamedParameter>& parameters,
                  const std::optional<BFloat16Options>& options);

  /// Whether parameter i is one of them.
  bool holds(size_t i) const { return held_[i]; }

  /// Computes an update of part of a parameter in place: `weight` and `gradient` are float32 [n], elements
  /// `offset` … offset + n − 1 of it. Offsets are multiples of 256.
  using Update = std::function<void(const at::Tensor& weight, const at::Tensor& gradient, int64_t offset)>;

  /// Applies an update to all of parameter i, which has a gradient. `step` counts updates.
  void apply(size_t i, int64_t step, const Update& update) const;

  /// "rounding_seed", or "remainder.<name>" for each of them.
  void append_state(NamedTensors& state) const;

 private:
  std::vector<NamedParameter> parameters_;
  std::vector<bool> held_;
  std::vector<at::Tensor> remainders_;  ///< int16, undefined for other parameters and without compensation
  at::Tensor seed_;                     ///< int64 [1]; undefined without stochastic rounding
};

}  // namespace ip2p

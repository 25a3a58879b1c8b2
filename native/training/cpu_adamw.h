#pragma once

#include "training/optimizer.h"

namespace ip2p {

/// A parameter with its gradient and optimizer state.
struct AdamWTensors {
  at::Tensor weight, gradient, exp_avg, exp_avg_sq;
  at::Tensor average;  ///< undefined where none is kept
  at::Tensor shadow;   ///< the shadow weight in bfloat16; undefined where none is kept
};

/// Whether cpu_adamw supports these: float32, a supported processor, and the same memory layout for all
/// tensors of a parameter.
bool cpu_adamw_takes(const std::vector<AdamWTensors>& all);

/// Unscaling, AdamW, the average and rounding to bfloat16 in one pass over memory; bit-identical to
/// libtorch's _fused_adamw_ and WeightAverage::move. `count`: steps including this one; `divisor`: of the
/// gradients, which are not modified.
void cpu_adamw(const std::vector<AdamWTensors>& all, const AdamWOptions& options, double learning_rate,
               double count, float divisor, double average_decay);

}  // namespace ip2p

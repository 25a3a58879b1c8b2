#pragma once

#include "training/optimizer.h"

namespace ip2p {

/// A parameter that has a gradient, and what belongs to it.
struct AdamWTensors {
  at::Tensor weight, gradient, exp_avg, exp_avg_sq;
  at::Tensor average;  ///< undefined where none is kept
  at::Tensor lowered;  ///< the weight in bfloat16; undefined where none is kept
};

/// Whether cpu_adamw can: float32 on a processor that its kernel is written for, and tensors of a parameter
/// that lie alike in memory.
bool cpu_adamw_takes(const std::vector<AdamWTensors>& all);

/// Unscaling, AdamW, the average and rounding to bfloat16 in one pass over memory; to the last bit what
/// libtorch's _fused_adamw_ and WeightAverage::move make of it. `count`: steps with this one; `divisor`: of
/// the gradients, which stay as they are.
void cpu_adamw(const std::vector<AdamWTensors>& all, const AdamWOptions& options, double learning_rate,
               double count, float divisor, double average_decay);

}  // namespace ip2p

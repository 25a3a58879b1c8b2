#pragma once

#include <stdint.h>

#include "kernels/simd/instruction_set.h"

namespace ip2p {

/// Contiguous elements of a parameter and its optimizer state, all float32.
struct AdamWElements {
  float* weight;
  const float* gradient;
  float *exp_avg, *exp_avg_sq;
  float* average;  // of the weights; null where none is kept
  void* shadow;    // bfloat16 shadow weights; null where none are kept
  int64_t count;
};

/// The constants of a step.
struct AdamWStep {
  float divisor;                         // of the gradients
  float weight_decay;                    // 1 − learning rate · decay
  float first, second_kept, second_new;  // 1 − β₁, β₂, 1 − β₂
  float second_correction, epsilon;      // √(1 − β₂ᵗ)
  float step_size;                       // −learning rate / (1 − β₁ᵗ)
  float average;                         // −(1 − decay of the average)
};

}  // namespace ip2p

/// One step of AdamW; the average follows the new weights.
IP2P_DECLARE_SIMD(void adamw(const ::ip2p::AdamWElements& elements, const ::ip2p::AdamWStep& step))

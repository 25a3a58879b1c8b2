#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <utility>
#include <vector>

#include "models/model.h"

namespace ip2p {

/// A low-rank addition to a weight [O,...]: scale · up · down, with up [O,r] and down [r,...], whose
/// dimensions of size 1 may be missing or additional (Hu et al. 2021, "LoRA").
struct LowRankTerm {
  at::Tensor up, down;
  double scale;
};

/// What a weight becomes: the original plus the terms.
struct WeightChange {
  std::string name;
  /// Undefined: the weight that the model has.
  at::Tensor original;
  std::vector<LowRankTerm> terms;
};

/// Changes the weights, all or, if it throws, none. The sums are computed in float32 and rounded once;
/// without terms a weight is the original itself. ERR_NOT_FINITE names a weight whose sum is NaN or infinite
/// in the model's type; ERR_INVALID_ARGUMENT for 8-bit weights and for a model in training.
///
/// @returns the originals
std::vector<at::Tensor> change_weights(Model& model, const std::vector<WeightChange>& changes);

/// Names and shapes of all parameters, without touching their values.
std::vector<std::pair<std::string, std::vector<int64_t>>> parameter_shapes(Model& model);

}  // namespace ip2p

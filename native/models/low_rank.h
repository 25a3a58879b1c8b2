#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
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

/// An adapter whose products are added to those of the weights, which stay as they are.
struct PlacedAdapter {
  std::string name;
  /// Whether it counts only in the rows of a pass that ask for it, instead of in all.
  bool by_row = true;
  /// Of the weights by their names.
  std::vector<std::pair<std::string, LowRankTerm>> terms;
};

/// Makes these the adapters beside the weights, in place of those that were, all or, if it throws, none.
/// ERR_STATE_DICT names a weight that does not fit, ERR_INVALID_ARGUMENT one of a layer without a product,
/// and a model in training.
void place_adapters(Model& model, const std::vector<PlacedAdapter>& adapters);

/// A new adapter that is trained.
struct NewAdapter {
  std::string name;
  /// Names of layers with a matrix or a kernel.
  std::vector<std::string> layers;
  int64_t rank = 4;
  double alpha = 4;
  double dropout = 0;
  /// Parameters that are trained in full beside it.
  std::vector<std::string> in_full;
  /// Also makes the draws that peft makes for the values of both factors, before it replaces them.
  bool like_peft = false;
};

/// Gives layers an adapter: down is normal with a deviation of 1/rank, drawn layer by layer in the order of
/// the model, up is zero, so that the model computes what it did. All parameters but those that are named are
/// frozen: trained_parameters() no longer has them.
void add_adapter(Model& model, const NewAdapter& adapter, std::optional<at::Generator> generator);

/// Names and shapes of all parameters, without touching their values.
std::vector<std::pair<std::string, std::vector<int64_t>>> parameter_shapes(Model& model);

}  // namespace ip2p

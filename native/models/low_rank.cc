#include "models/low_rank.h"

#include <ATen/ops/mm.h>

#include <unordered_map>

#include "core/cancel.h"
#include "core/dtype.h"
#include "core/error.h"
#include "core/finite.h"
#include "core/utf8.h"

namespace ip2p {
namespace {

at::Tensor merged(const WeightChange& change, const at::Tensor& original) {
  const int64_t rows = original.size(0);
  at::Tensor sum = original.to(at::kFloat, /*non_blocking=*/false, /*copy=*/true);
  for (const LowRankTerm& term : change.terms) {
    const auto as_float = [&](const at::Tensor& factor) { return factor.to(original.device(), at::kFloat); };
    const int64_t rank = term.down.dim() > 0 ? term.down.size(0) : 0;
    if (rank == 0 || term.up.numel() != rows * rank || term.down.numel() * rows != rank * original.numel())
      throw Error("ERR_STATE_DICT", "the low-rank factors do not fit the weight " + in_quotes(change.name));
    const at::Tensor product =
        at::mm(as_float(term.up).reshape({rows, rank}), as_float(term.down).reshape({rank, -1}));
    sum.add_(product.reshape(original.sizes()), term.scale);
  }
  const at::Tensor rounded = sum.to(original.scalar_type());
  if (!all_finite(rounded))
    throw Error("ERR_NOT_FINITE", "with the adapters the weight " + in_quotes(change.name) +
                                      " holds NaN or infinity in " + dtype_name(original.scalar_type()));
  return rounded;
}

}  // namespace

std::vector<at::Tensor> change_weights(Model& model, const std::vector<WeightChange>& changes) {
  std::unordered_map<std::string, Parameter*> parameters;
  for (const auto& [name, parameter] : model.declared_parameters()) parameters.emplace(name, parameter);
  std::vector<at::Tensor> originals, values;
  for (const WeightChange& change : changes) {
    check_cancelled();
    const auto found = parameters.find(change.name);
    if (found == parameters.end())
      throw Error("ERR_STATE_DICT", "unknown parameter " + in_quotes(change.name));
    const Parameter& parameter = *found->second;
    if (parameter.int8())
      throw Error("ERR_INVALID_ARGUMENT", "a model with 8-bit weights cannot take adapters");
    const at::Tensor& present = *parameter;
    if (present.requires_grad())
      throw Error("ERR_INVALID_ARGUMENT", "a model in training cannot take adapters");
    const at::Tensor original = change.original.defined() ? change.original.to(present.device()) : present;
    if (!original.sizes().equals(parameter.shape) || original.scalar_type() != present.scalar_type())
      throw Error("ERR_STATE_DICT", "not an original of the weight " + in_quotes(change.name));
    originals.push_back(original);
    values.push_back(change.terms.empty() ? original : merged(change, original));
  }
  for (size_t i = 0; i < changes.size(); ++i) parameters[changes[i].name]->replace(std::move(values[i]));
  return originals;
}

std::vector<std::pair<std::string, std::vector<int64_t>>> parameter_shapes(Model& model) {
  std::vector<std::pair<std::string, std::vector<int64_t>>> shapes;
  for (const auto& [name, parameter] : model.declared_parameters())
    shapes.emplace_back(name, parameter->shape);
  return shapes;
}

}  // namespace ip2p

#include "models/low_rank.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/zeros.h>
#include <c10/util/accumulate.h>

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "core/cancel.h"
#include "core/dtype.h"
#include "core/error.h"
#include "core/finite.h"
#include "core/utf8.h"
#include "nn/low_rank_adapter.h"

namespace ip2p {
namespace {

/// The rank of factors that fit a weight. ERR_STATE_DICT names the weight.
int64_t checked_rank(const LowRankTerm& term, const std::string& name, at::IntArrayRef weight) {
  const int64_t rank = term.down.dim() > 0 ? term.down.size(0) : 0;
  const int64_t rows = weight.empty() ? 0 : weight[0];
  if (rank == 0 || term.up.numel() != rows * rank ||
      term.down.numel() * rows != rank * c10::multiply_integers(weight))
    throw Error("ERR_STATE_DICT", "the low-rank factors do not fit the weight " + in_quotes(name));
  return rank;
}

at::Tensor merged(const WeightChange& change, const at::Tensor& original) {
  const int64_t rows = original.size(0);
  at::Tensor sum = original.to(at::kFloat, /*non_blocking=*/false, /*copy=*/true);
  for (const LowRankTerm& term : change.terms) {
    const auto as_float = [&](const at::Tensor& factor) { return factor.to(original.device(), at::kFloat); };
    const int64_t rank = checked_rank(term, change.name, original.sizes());
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

void place_adapters(Model& model, const std::vector<PlacedAdapter>& adapters) {
  using Adapters = std::vector<std::shared_ptr<LowRankAdapter>>;
  std::unordered_map<std::string, Parameter*> parameters;
  for (const auto& [name, parameter] : model.declared_parameters()) {
    const Adapters& present = parameter->adapters();
    const bool trained = parameter->value.defined() && parameter->value.requires_grad();
    if (trained ||
        std::any_of(present.begin(), present.end(), [](const auto& each) { return each->trained(); }))
      throw Error("ERR_INVALID_ARGUMENT", "a model in training cannot take adapters");
    parameters.emplace(name, parameter);
  }
  std::unordered_map<Parameter*, Adapters> placed;
  std::vector<std::string> names;
  for (const PlacedAdapter& adapter : adapters) {
    if (adapter.by_row) names.push_back(adapter.name);
    for (const auto& [name, term] : adapter.terms) {
      const auto found = parameters.find(name);
      if (found == parameters.end()) throw Error("ERR_STATE_DICT", "unknown parameter " + in_quotes(name));
      Parameter& parameter = *found->second;
      if (!parameter.multiplies && !parameter.looked_up)
        throw Error("ERR_INVALID_ARGUMENT", "an adapter of " + in_quotes(name) +
                                                " can only be added to the weight: the layer has no product");
      const int64_t rank = checked_rank(term, name, parameter.shape);
      const auto made = std::make_shared<LowRankAdapter>();
      made->name = adapter.name;
      made->scale = term.scale;
      made->by_row = adapter.by_row;
      made->down.shape = parameter.shape;
      made->up.shape.assign(parameter.shape.size(), 1);
      made->up.shape[0] = parameter.shape[0];
      made->up.shape[1] = made->down.shape[0] = rank;
      made->down.value = term.down.detach().to(model.device()).reshape(made->down.shape);
      made->up.value = term.up.detach().to(model.device()).reshape(made->up.shape);
      placed[&parameter].push_back(made);
    }
  }
  for (const auto& [name, parameter] : parameters) parameter->adapters() = std::move(placed[parameter]);
  model.set_adapters(std::move(names));
}

void add_adapter(Model& model, const NewAdapter& adapter, std::optional<at::Generator> generator) {
  constexpr std::string_view kWeight = ".weight";
  std::unordered_set<std::string> layers(adapter.layers.begin(), adapter.layers.end());
  std::unordered_set<std::string> in_full(adapter.in_full.begin(), adapter.in_full.end());
  std::vector<std::pair<Parameter*, std::shared_ptr<LowRankAdapter>>> added;
  std::vector<Parameter*> frozen;
  if (adapter.rank < 1) throw Error("ERR_INVALID_ARGUMENT", "an adapter's rank is at least 1");
  for (const auto& [name, parameter] : model.named_parameters()) {
    if (parameter->value.requires_grad() || !parameter->adapters().empty())
      throw Error("ERR_INVALID_ARGUMENT", "a model in training takes no new adapter");
    if (in_full.erase(name) == 0) frozen.push_back(parameter);
    if (!name.ends_with(kWeight) || layers.erase(name.substr(0, name.size() - kWeight.size())) == 0) continue;
    if (!parameter->multiplies)
      throw Error("ERR_INVALID_ARGUMENT", "the layer of " + in_quotes(name) + " takes no adapter");
    std::vector<int64_t> down = parameter->shape;
    std::vector<int64_t> up(parameter->shape.size(), 1);
    up[0] = down[0];
    up[1] = down[0] = adapter.rank;
    const auto made = std::make_shared<LowRankAdapter>();
    made->name = adapter.name;
    made->scale = adapter.alpha / static_cast<double>(adapter.rank);
    made->dropout = adapter.dropout;
    made->place = added.size();
    made->down.shape = down;
    made->up.shape = up;
    if (adapter.like_peft)
      for (const auto& shape : {down, up}) at::empty(shape, at::kFloat).uniform_(0, 1, generator);
    const double deviation = 1 / static_cast<double>(adapter.rank);
    made->down.value = at::empty(down, at::kFloat).normal_(0, deviation, generator).to(model.device());
    made->up.value = at::zeros(up, at::kFloat).to(model.device());
    made->down.restore();
    made->up.restore();
    added.emplace_back(parameter, made);
  }
  for (const auto* left : {&layers, &in_full})
    if (!left->empty())
      throw Error("ERR_STATE_DICT", "unknown layer or parameter " + in_quotes(*left->begin()));
  if (added.empty()) throw Error("ERR_INVALID_ARGUMENT", "an adapter changes at least one layer");
  for (Parameter* parameter : frozen) parameter->trained = false;
  for (auto& [parameter, made] : added) parameter->adapters().push_back(made);
}

std::vector<std::pair<std::string, std::vector<int64_t>>> parameter_shapes(Model& model) {
  std::vector<std::pair<std::string, std::vector<int64_t>>> shapes;
  for (const auto& [name, parameter] : model.declared_parameters())
    shapes.emplace_back(name, parameter->shape);
  return shapes;
}

}  // namespace ip2p

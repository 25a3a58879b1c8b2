#include "training/parameter_trainer.h"

#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/clamp.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "core/error.h"
#include "distributed/buckets.h"
#include "kernels/half_weights.h"
#include "nn/autocast.h"
#include "nn/gradient_checkpointing.h"

namespace ip2p {

void WeightAverage::move(size_t i, const Parameter& weight) const {
  tensors[i].sub_(tensors[i] - weight.value.detach().to(tensors[i].device()), 1 - decay);
}

Clipping::Clipping(const at::Tensor& norm, double max_norm, double loss_scale)
    : found_inf(at::isfinite(norm).logical_not().to(at::kFloat)) {
  const at::Tensor clip = at::clamp(max_norm / (norm + 1e-6), std::nullopt, 1.0);
  // A norm that is not finite makes the factor NaN: the update is skipped, but NaN must not reach the kernel.
  divisor = (loss_scale / clip).nan_to_num(1.0);
}

namespace {

std::unique_ptr<Optimizer> make_optimizer(const std::vector<NamedParameter>& parameters,
                                          const TrainerOptions& options) {
  const bool adam =
      options.optimizer == OptimizerKind::AdamW || options.optimizer == OptimizerKind::AdamW8bit;
  if (options.bfloat16 && !adam)
    throw Error("ERR_INVALID_ARGUMENT", "bfloat16 weights are trained by AdamW only");
  switch (options.optimizer) {
    case OptimizerKind::AdamW8bit:
      return make_adamw_8bit(parameters, options.adamw, options.bfloat16);
    case OptimizerKind::Lion8bit:
      return make_lion_8bit(parameters, options.adamw);
    case OptimizerKind::Prodigy:
      return make_prodigy(parameters, options.adamw);
    case OptimizerKind::AdamW:
      break;
  }
  return make_adamw(parameters, options.adamw, options.bfloat16);
}

class DropoutScope {
 public:
  explicit DropoutScope(DropoutDraw* draw) : draw_(draw) {
    if (draw_) draw_->active = true;
  }
  ~DropoutScope() {
    if (draw_) draw_->active = false;
  }
  DropoutScope(const DropoutScope&) = delete;
  DropoutScope& operator=(const DropoutScope&) = delete;

 private:
  DropoutDraw* draw_;
};

bool has_adapters(Model& model) {
  for (const auto& [name, parameter] : model.declared_parameters())
    if (!parameter->adapters().empty()) return true;
  return false;
}

}  // namespace

std::vector<NamedParameter> trained_parameters(Model& model, const std::string& prefix) {
  std::vector<NamedParameter> all;
  for (const auto& [name, parameter] : model.named_parameters()) {
    if (parameter->trained) all.push_back({prefix + name, parameter});
    const std::string layer = prefix + name.substr(0, name.rfind('.'));
    for (const auto& adapter : parameter->adapters()) {
      all.push_back({layer + ".lora_A.weight", &adapter->down});
      all.push_back({layer + ".lora_B.weight", &adapter->up});
    }
  }
  return all;
}

namespace {

/// Elements of a part in which weights are handed over, as in a bucket of gradients.
constexpr int64_t kPart = (25 << 20) / sizeof(float);

/// The same on all processes: from the largest on, each goes to the one that has least.
std::vector<int> owners_of(const std::vector<NamedParameter>& parameters, int count) {
  std::vector<int> owners(parameters.size(), 0);
  if (count == 1) return owners;
  if (static_cast<size_t>(count) > parameters.size())
    throw Error("ERR_INVALID_ARGUMENT", "there are more processes than parameters to share among them");
  std::vector<size_t> order(parameters.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return parameters[a].parameter->value.numel() > parameters[b].parameter->value.numel();
  });
  std::vector<int64_t> held(count);
  for (const size_t i : order) {
    const auto least = std::min_element(held.begin(), held.end());
    owners[i] = static_cast<int>(least - held.begin());
    *least += parameters[i].parameter->value.numel();
  }
  return owners;
}

}  // namespace

ParameterTrainer::ParameterTrainer(const std::vector<std::pair<std::string, Model*>>& models,
                                   const TrainerOptions& options)
    : device_(models.front().second->device()), options_(options) {
  for (const auto& [prefix, model] : models) {
    for (NamedParameter& entry : trained_parameters(*model, prefix)) parameters_.push_back(std::move(entry));
    if (!has_adapters(*model)) continue;
    narrow_frozen(*model);
    begin_dropout(*model);
    // What is trained beside frozen weights is little, and keeps its precision.
    options_.bfloat16.reset();
  }
  if (parameters_.empty()) throw Error("ERR_INVALID_ARGUMENT", "there is nothing to train");
  owners_ = owners_of(parameters_, options_.shard ? options_.shard->count : 1);
  if (options_.shard && options_.bfloat16)
    throw Error("ERR_INVALID_ARGUMENT", "bfloat16 weights cannot be shared among processes");
  if (options_.shard && options_.optimizer == OptimizerKind::Prodigy)
    throw Error("ERR_INVALID_ARGUMENT",
                "Prodigy looks at all parameters in every step, so they cannot be shared among processes");
  if (options_.shard && draw_)
    throw Error("ERR_INVALID_ARGUMENT", "adapters with dropout cannot be shared among processes");
  for (const auto& [name, parameter] : parameters_)
    if (parameter->value.scalar_type() != at::kFloat)
      throw Error("ERR_INVALID_ARGUMENT",
                  "a model is trained with float32 weights; use mixed precision for speed");
  std::vector<NamedParameter> mine;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    if (is_mine(i)) mine.push_back(parameters_[i]);
    if (options_.use_ema) ema_.push_back(is_mine(i) ? new_average(i) : at::Tensor());
  }
  traces_ = WeightTraces(parameters_, options_.traces, options_.offload_ema);
  optimizer_ = make_optimizer(mine, options_);
  if (options_.release_gradients && options_.shard)
    throw Error("ERR_INVALID_ARGUMENT", "gradients that processes share cannot be released");
  for (const auto& [name, parameter] : parameters_) {
    parameter->value.set_requires_grad(true);
    if (options_.shadow_weights && options_.mixed_precision && parameter->multiplies && !options_.bfloat16 &&
        arithmetic_type(*options_.mixed_precision, parameter->value.device()) == *options_.mixed_precision)
      parameter->keep_shadow(*options_.mixed_precision);
  }
  if (options_.release_gradients)
    release_ = std::make_unique<GradientRelease>(parameters_, *optimizer_, ema_);
}

at::Tensor ParameterTrainer::new_average(size_t i) const {
  const at::Tensor weight = parameters_[i].parameter->value.detach();
  return options_.offload_ema ? weight.to(at::TensorOptions().device(c10::kCPU), false, true)
                              : weight.clone();
}

void ParameterTrainer::narrow_frozen(Model& model) const {
  // Autocast would narrow the weights in every pass, with the same result.
  const bool narrow = options_.bfloat16.has_value() || options_.mixed_precision == at::kBFloat16;
  if (!narrow) return;
  for (const auto& [name, parameter] : model.named_parameters()) {
    if (parameter->trained || !parameter->multiplies) continue;
    parameter->replace(parameter->value.to(at::kBFloat16));
    parameter->restore();
  }
}

void ParameterTrainer::begin_dropout(Model& model) {
  for (const auto& [name, parameter] : model.declared_parameters())
    for (const auto& adapter : parameter->adapters()) {
      if (adapter->dropout == 0) continue;
      if (!draw_) {
        draw_ = std::make_shared<DropoutDraw>(DropoutDraw{options_.dropout_seed});
        dropout_step_ = at::zeros({}, at::kLong);
      }
      adapter->draw = draw_;
    }
}

at::Tensor ParameterTrainer::accumulate(const std::function<at::Tensor()>& loss, double factor, bool reduces,
                                        const std::optional<ReleasedStep>& released) {
  if (released.has_value() != (release_ != nullptr))
    throw Error("ERR_INVALID_ARGUMENT", release_
                                            ? "this trainer releases gradients, so a micro-step must say how"
                                            : "this trainer does not release gradients");
  if (release_ && release_->begun())
    throw Error("ERR_INVALID_ARGUMENT", "the step of the last micro-step was not ended");
  if (reduces && !reducer_)
    throw Error("ERR_INVALID_ARGUMENT", "this process trains alone, so its gradients cannot be reduced");
  const c10::AutoGradMode gradients(true);
  if (draw_) draw_->step = static_cast<uint64_t>(dropout_step_.item<int64_t>());
  const DropoutScope dropout(draw_.get());
  at::Tensor value;
  {
    const AutocastScope autocast({device().type(), options_.mixed_precision.has_value(),
                                  options_.mixed_precision.value_or(at::kBFloat16)});
    const GradientCheckpointingScope checkpointing(options_.gradient_checkpointing);
    value = loss();
  }
  if (released && !std::isfinite(value.item<double>())) return value.detach();
  if (reducer_) reducer_->begin(reduces);
  if (released) release_->begin(*released);
  try {
    torch::autograd::backward({value * factor}, {});
  } catch (...) {
    if (release_) release_->abandon();
    throw;
  }
  if (reduces) reducer_->finish();
  if (draw_) draw_->micro_step += 1;
  return value.detach();
}

void ParameterTrainer::distribute(const std::shared_ptr<ProcessGroup>& group,
                                  std::optional<c10::ScalarType> exchanged_as) {
  if (options_.shard && (options_.shard->rank != group->rank() || options_.shard->count != group->size()))
    throw Error("ERR_INVALID_ARGUMENT", "this trainer holds the part of another process");
  if (release_)
    throw Error("ERR_INVALID_ARGUMENT", "processes average gradients, which this trainer does not keep");
  std::vector<at::Tensor> tensors;
  // An average that is still a copy of its weight stays one; it may be another process that holds it.
  std::vector<size_t> copies;
  std::vector<at::Tensor> averages;
  for (size_t i = 0; i < ema_.size(); ++i) {
    // Those in the host's memory travel by the device.
    if (!options_.shard)
      tensors.push_back(averages.emplace_back(ema_[i].to(device_)));
    else if (is_mine(i) && at::equal(ema_[i], parameters_[i].parameter->value.detach()))
      copies.push_back(i);
  }
  for (const auto& [name, parameter] : parameters_) {
    tensors.push_back(parameter->value);
    parameter->mark_shadow_stale();
  }
  group->broadcast_all(tensors);
  for (size_t i = 0; i < averages.size(); ++i)
    if (!averages[i].is_same(ema_[i])) ema_[i].copy_(averages[i]);
  for (const size_t i : copies) ema_[i].copy_(parameters_[i].parameter->value.detach());
  group_ = group;
  reducer_ = std::make_unique<GradientReducer>(group, parameters_, exchanged_as);
}

/// After each process has updated its own.
void ParameterTrainer::distribute_weights() {
  const c10::NoGradGuard no_gradients;
  for (int owner = 0; owner < options_.shard->count; ++owner) {
    std::vector<size_t> part;
    int64_t size = 0;
    const auto hand_over = [&] {
      if (part.empty()) return;
      const at::Tensor flat =
          at::empty({size}, parameters_[part[0]].parameter->value.options().requires_grad(false));
      const auto each = [&](auto&& copy) {
        int64_t offset = 0;
        for (const size_t i : part) {
          const at::Tensor weight = parameters_[i].parameter->value.detach();
          copy(weight, part_like(weight, flat, offset));
          offset += weight.numel();
        }
      };
      const bool sends = owner == options_.shard->rank;
      if (sends) each([](const at::Tensor& weight, const at::Tensor& view) { view.copy_(weight); });
      group_->broadcast(flat, owner)->wait();
      if (!sends) each([](const at::Tensor& weight, const at::Tensor& view) { weight.copy_(view); });
      part.clear();
      size = 0;
    };
    for (size_t i = 0; i < parameters_.size(); ++i) {
      if (owners_[i] != owner) continue;
      const int64_t count = parameters_[i].parameter->value.numel();
      if (size + count > kPart) hand_over();
      part.push_back(i);
      size += count;
    }
    hand_over();
  }
}

void ParameterTrainer::reduce_gradients() {
  if (!reducer_)
    throw Error("ERR_INVALID_ARGUMENT", "this process trains alone, so its gradients cannot be reduced");
  reducer_->begin(true);
  reducer_->finish();
}

StepReport ParameterTrainer::step(double learning_rate, double max_grad_norm, double loss_scale,
                                  const std::optional<double>& ema_decay) {
  if (release_ && release_->begun()) {
    if (draw_) dropout_step_.add_(1);
    forget_gradients();
    return release_->finish();
  }
  std::vector<at::Tensor> gradients;
  for (const auto& [name, parameter] : parameters_)
    if (parameter->value.grad().defined()) gradients.push_back(parameter->value.grad());
  if (gradients.empty())
    throw Error("ERR_INVALID_ARGUMENT", "an optimizer step needs a backward pass before it");

  const at::Tensor norm =
      at::linalg_vector_norm(at::stack(at::_foreach_norm(gradients, 2, at::kFloat))) / loss_scale;
  const Clipping clipping(norm, max_grad_norm, loss_scale);
  std::vector<at::Tensor> averages;
  for (size_t i = 0; i < ema_.size(); ++i)
    if (is_mine(i)) averages.push_back(ema_[i]);
  std::optional<WeightAverage> average;
  if (ema_decay && has_ema()) average.emplace(WeightAverage{averages, *ema_decay});
  for (const auto& [name, parameter] : parameters_) parameter->mark_shadow_stale();
  if (options_.shard && !group_)
    throw Error("ERR_INVALID_ARGUMENT",
                "this trainer holds a part only, and is not connected with the others");
  std::vector<size_t> all;
  for (size_t i = 0; i < parameters_.size(); ++i)
    if (is_mine(i)) all.push_back(all.size());
  optimizer_->begin(clipping.found_inf);
  optimizer_->update(all, learning_rate, clipping.divisor, clipping.found_inf, average);
  if (options_.shard) distribute_weights();
  if (draw_) dropout_step_.add_(1);
  forget_gradients();
  return {norm, clipping.found_inf};
}

void ParameterTrainer::update_ema(double decay) {
  for (size_t i = 0; i < ema_.size(); ++i)
    if (is_mine(i)) WeightAverage{ema_, decay}.move(i, *parameters_[i].parameter);
}

void ParameterTrainer::swap_ema() {
  if (ema_.empty()) throw Error("ERR_INVALID_ARGUMENT", "this trainer keeps no average of the weights");
  for (const at::Tensor& average : ema_)
    if (!average.defined())
      throw Error("ERR_INVALID_ARGUMENT",
                  "other processes hold some of the averages, which were not borrowed");
  for (size_t i = 0; i < ema_.size(); ++i) {
    at::Tensor& weight = parameters_[i].parameter->value;
    // Only the storage is exchanged, so that gradients still accumulate in the same leaf.
    const at::Tensor data = weight.detach();
    const c10::Device home = ema_[i].device();
    weight.set_data(ema_[i].to(device_));
    ema_[i] = data.to(home);
    parameters_[i].parameter->mark_shadow_stale();
  }
}

void ParameterTrainer::forget_gradients() {
  for (const auto& [name, parameter] : parameters_) parameter->value.mutable_grad().reset();
  if (draw_) draw_->micro_step = 0;
}

NamedTensors ParameterTrainer::optimizer_state() const {
  NamedTensors state = optimizer_->state();
  if (draw_) state.emplace_back("dropout_step", dropout_step_);
  return state;
}

NamedTensors ParameterTrainer::weights() const {
  NamedTensors all;
  for (const auto& [name, parameter] : parameters_) all.emplace_back(name, parameter->value.detach());
  return all;
}

NamedTensors ParameterTrainer::ema_state() const {
  NamedTensors all;
  for (size_t i = 0; i < ema_.size(); ++i)
    if (is_mine(i)) all.emplace_back(parameters_[i].name, ema_[i]);
  return all;
}

void ParameterTrainer::borrow_ema(const NamedTensors& others) {
  if (ema_.empty()) throw Error("ERR_INVALID_ARGUMENT", "this trainer keeps no average of the weights");
  const std::map<std::string, at::Tensor> by_name(others.begin(), others.end());
  std::vector<at::Tensor> all = ema_;
  for (size_t i = 0; i < all.size(); ++i) {
    if (is_mine(i)) continue;
    const auto found = by_name.find(parameters_[i].name);
    const at::Tensor& weight = parameters_[i].parameter->value;
    if (found == by_name.end() || !found->second.sizes().equals(weight.sizes()) ||
        found->second.scalar_type() != weight.scalar_type() || found->second.device() != weight.device())
      throw Error("ERR_STATE_DICT",
                  "the average of " + parameters_[i].name + " is missing or of another kind");
    all[i] = found->second.detach();
  }
  ema_ = std::move(all);
}

void ParameterTrainer::give_ema_back() {
  for (size_t i = 0; i < ema_.size(); ++i)
    if (!is_mine(i)) ema_[i] = at::Tensor();
}

}  // namespace ip2p

#include "training/parameter_trainer.h"

#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/clamp.h>
#include <ATen/ops/full.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/autograd.h>

#include "core/error.h"
#include "nn/autocast.h"
#include "nn/gradient_checkpointing.h"

namespace ip2p {

void WeightAverage::move(size_t i, const Parameter& weight) const {
  tensors[i].sub_(tensors[i] - weight.value.detach(), 1 - decay);
}

std::vector<NamedParameter> all_parameters(Model& model, const std::string& prefix) {
  std::vector<NamedParameter> all;
  for (const auto& [name, parameter] : model.named_parameters())
    if (parameter->trained) all.push_back({prefix + name, parameter});
  return all;
}

ParameterTrainer::ParameterTrainer(c10::Device device, std::vector<NamedParameter> parameters,
                                   const TrainerOptions& options)
    : device_(device), options_(options), parameters_(std::move(parameters)) {
  for (const auto& [name, parameter] : parameters_)
    if (parameter->value.scalar_type() != at::kFloat)
      throw Error("ERR_INVALID_ARGUMENT",
                  "a model is trained with float32 weights; use mixed precision for speed");
  for (const auto& [name, parameter] : parameters_)
    if (options_.use_ema) ema_.push_back(parameter->value.detach().clone());
  const auto make = options_.use_8bit_adam ? make_adamw_8bit : make_adamw;
  optimizer_ = make(parameters_, options_.adamw, options_.bfloat16);
  for (const auto& [name, parameter] : parameters_) {
    parameter->value.set_requires_grad(true);
    if (options_.shadow_weights && options_.mixed_precision && parameter->multiplies && !options_.bfloat16)
      parameter->keep_shadow(*options_.mixed_precision);
  }
}

at::Tensor ParameterTrainer::accumulate(const std::function<at::Tensor()>& loss, double factor,
                                        bool reduces) {
  if (reduces && !reducer_)
    throw Error("ERR_INVALID_ARGUMENT", "this process trains alone, so its gradients cannot be reduced");
  const c10::AutoGradMode gradients(true);
  at::Tensor value;
  {
    const AutocastScope autocast({device().type(), options_.mixed_precision.has_value(),
                                  options_.mixed_precision.value_or(at::kBFloat16)});
    const GradientCheckpointingScope checkpointing(options_.gradient_checkpointing);
    value = loss();
  }
  if (reducer_) reducer_->begin(reduces);
  torch::autograd::backward({value * factor}, {});
  if (reduces) reducer_->finish();
  return value.detach();
}

void ParameterTrainer::distribute(const std::shared_ptr<ProcessGroup>& group) {
  std::vector<at::Tensor> tensors = ema_;
  for (const auto& [name, parameter] : parameters_) {
    tensors.push_back(parameter->value);
    parameter->mark_shadow_stale();
  }
  group->broadcast_all(tensors);
  reducer_ = std::make_unique<GradientReducer>(group, parameters_);
}

void ParameterTrainer::reduce_gradients() {
  if (!reducer_)
    throw Error("ERR_INVALID_ARGUMENT", "this process trains alone, so its gradients cannot be reduced");
  reducer_->begin(true);
  reducer_->finish();
}

StepReport ParameterTrainer::step(double learning_rate, double max_grad_norm, double loss_scale,
                                  const std::optional<double>& ema_decay) {
  std::vector<at::Tensor> gradients;
  for (const auto& [name, parameter] : parameters_)
    if (parameter->value.grad().defined()) gradients.push_back(parameter->value.grad());
  if (gradients.empty())
    throw Error("ERR_INVALID_ARGUMENT", "an optimizer step needs a backward pass before it");

  const at::Tensor norm =
      at::linalg_vector_norm(at::stack(at::_foreach_norm(gradients, 2, at::kFloat))) / loss_scale;
  const at::Tensor skipped = at::isfinite(norm).logical_not().to(at::kFloat);
  const at::Tensor clip = at::clamp(max_grad_norm / (norm + 1e-6), std::nullopt, 1.0);
  // A norm that is not finite makes the factor NaN: the update is skipped, but NaN must not reach the kernel.
  const at::Tensor divisor = (loss_scale / clip).nan_to_num(1.0);
  std::optional<WeightAverage> average;
  if (ema_decay && has_ema()) average.emplace(WeightAverage{ema_, *ema_decay});
  for (const auto& [name, parameter] : parameters_) parameter->mark_shadow_stale();
  optimizer_->step(learning_rate, divisor, skipped, average);
  forget_gradients();
  return {norm, skipped};
}

void ParameterTrainer::update_ema(double decay) {
  for (size_t i = 0; i < ema_.size(); ++i) WeightAverage{ema_, decay}.move(i, *parameters_[i].parameter);
}

void ParameterTrainer::swap_ema() {
  if (ema_.empty()) throw Error("ERR_INVALID_ARGUMENT", "this trainer keeps no average of the weights");
  for (size_t i = 0; i < ema_.size(); ++i) {
    at::Tensor& weight = parameters_[i].parameter->value;
    // Only the storage is exchanged, so that gradients still accumulate in the same leaf.
    const at::Tensor data = weight.detach();
    weight.set_data(ema_[i]);
    ema_[i] = data;
    parameters_[i].parameter->mark_shadow_stale();
  }
}

void ParameterTrainer::forget_gradients() {
  for (const auto& [name, parameter] : parameters_) parameter->value.mutable_grad().reset();
}

NamedTensors ParameterTrainer::ema_state() const {
  NamedTensors all;
  for (size_t i = 0; i < ema_.size(); ++i) all.emplace_back(parameters_[i].name, ema_[i]);
  return all;
}

}  // namespace ip2p

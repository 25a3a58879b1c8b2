#include "training/trainer.h"

#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/clamp.h>
#include <ATen/ops/full.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/mse_loss.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/autograd.h>

#include "core/cancel.h"
#include "core/error.h"
#include "training/autocast.h"
#include "training/gradient_checkpointing.h"

namespace ip2p {

Trainer::Trainer(std::shared_ptr<UNet2DConditionModel> unet, const TrainerOptions& options)
    : unet_(std::move(unet)), options_(options), parameters_(unet_->named_parameters()) {
  if (unet_->dtype() != at::kFloat)
    throw Error("ERR_INVALID_ARGUMENT",
                "a model is trained with float32 weights; use mixed precision for speed");
  for (const auto& [name, parameter] : parameters_) {
    parameter->value.set_requires_grad(true);
    if (options_.use_ema) ema_.push_back(parameter->value.detach().clone());
  }
  optimizer_ = options_.use_8bit_adam ? make_adamw_8bit(parameters_, options_.adamw)
                                      : make_adamw(parameters_, options_.adamw);
}

at::Tensor Trainer::micro_step(const at::Tensor& sample, const at::Tensor& timesteps,
                               const at::Tensor& context, const at::Tensor& target, double factor) {
  const c10::AutoGradMode gradients(true);
  const c10::DeviceType device = unet_->device().type();
  at::Tensor prediction;
  {
    const AutocastScope autocast(
        {device, options_.mixed_precision.has_value(), options_.mixed_precision.value_or(at::kBFloat16)});
    const GradientCheckpointingScope checkpointing(options_.gradient_checkpointing);
    prediction = unet_->forward(sample, timesteps, context);
  }
  check_cancelled();
  // It would be broadcast, with a loss that means nothing.
  if (!prediction.sizes().equals(target.sizes()))
    throw Error("ERR_INVALID_ARGUMENT", "the target differs in shape from what the model predicts");
  const at::Tensor loss = at::mse_loss(prediction.to(at::kFloat), target.to(at::kFloat));
  torch::autograd::backward({loss * factor}, {});
  return loss.detach();
}

StepReport Trainer::step(double learning_rate, double max_grad_norm, double loss_scale) {
  std::vector<at::Tensor> gradients;
  for (const auto& [name, parameter] : parameters_)
    if (parameter->value.grad().defined()) gradients.push_back(parameter->value.grad());
  if (gradients.empty())
    throw Error("ERR_INVALID_ARGUMENT", "an optimiser step needs a backward pass before it");

  const at::Tensor norm = at::linalg_vector_norm(at::stack(at::_foreach_norm(gradients, 2))) / loss_scale;
  const at::Tensor skipped = at::isfinite(norm).logical_not().to(at::kFloat);
  const at::Tensor clip = at::clamp(max_grad_norm / (norm + 1e-6), std::nullopt, 1.0);
  // A norm that is not finite makes the factor NaN; the update is skipped then, but NaN must not reach the
  // kernel.
  const at::Tensor divisor = (loss_scale / clip).nan_to_num(1.0);
  optimizer_->step(learning_rate, divisor, skipped);
  forget_gradients();
  return {norm, skipped};
}

void Trainer::update_ema(double decay) {
  for (size_t i = 0; i < ema_.size(); ++i)
    ema_[i].sub_(ema_[i] - parameters_[i].parameter->value.detach(), 1 - decay);
}

void Trainer::swap_ema() {
  if (ema_.empty()) throw Error("ERR_INVALID_ARGUMENT", "this trainer keeps no average of the weights");
  for (size_t i = 0; i < ema_.size(); ++i) {
    at::Tensor& weight = parameters_[i].parameter->value;
    // Only the storage changes hands: the leaf stays the leaf that gradients accumulate in.
    const at::Tensor data = weight.detach();
    weight.set_data(ema_[i]);
    ema_[i] = data;
  }
}

void Trainer::forget_gradients() {
  for (const auto& [name, parameter] : parameters_) parameter->value.mutable_grad().reset();
}

NamedTensors Trainer::ema_state() const {
  NamedTensors all;
  for (size_t i = 0; i < ema_.size(); ++i) all.emplace_back(parameters_[i].name, ema_[i]);
  return all;
}

}  // namespace ip2p

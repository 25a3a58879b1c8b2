#include "training/gradient_release.h"

#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

#include "core/error.h"

namespace ip2p {

/// Calls on_gradient whenever the parameter's gradient has been accumulated.
struct GradientRelease::Hook {
  struct Call : torch::autograd::PostAccumulateGradHook {
    Call(GradientRelease* release, size_t i) : release(release), i(i) {}
    void operator()(const torch::autograd::Variable&) override { release->on_gradient(i); }
    GradientRelease* release;
    size_t i;
  };

  Hook(GradientRelease* release, size_t i) : value(release->parameters_[i].parameter->value) {
    torch::autograd::impl::set_post_acc_grad_hooks(value, std::make_unique<Call>(release, i));
  }
  ~Hook() { torch::autograd::impl::set_post_acc_grad_hooks(value, nullptr); }

  at::Tensor value;
};

GradientRelease::GradientRelease(std::vector<NamedParameter> parameters, Optimizer& optimizer,
                                 const std::vector<at::Tensor>& averages)
    : parameters_(std::move(parameters)), optimizer_(optimizer), averages_(averages) {
  if (!optimizer.updates_singly())
    throw Error("ERR_INVALID_ARGUMENT",
                "this optimizer looks at all gradients together, so they cannot be released one by one");
  for (size_t i = 0; i < parameters_.size(); ++i) hooks_.push_back(std::make_unique<Hook>(this, i));
}

GradientRelease::~GradientRelease() = default;

std::optional<WeightAverage> GradientRelease::average() const {
  if (averages_.empty() || !step_->ema_decay) return std::nullopt;
  return std::optional<WeightAverage>(std::in_place, WeightAverage{averages_, *step_->ema_decay});
}

void GradientRelease::begin(const ReleasedStep& step) {
  const at::TensorOptions options =
      parameters_.front().parameter->value.options().dtype(at::kFloat).requires_grad(false);
  step_ = step;
  released_.assign(parameters_.size(), false);
  squares_ = at::zeros({}, options);
  found_inf_ = at::zeros({}, options);
  optimizer_.begin(found_inf_);
}

void GradientRelease::on_gradient(size_t i) {
  if (!step_) return;
  const c10::NoGradGuard no_gradients;
  Parameter& parameter = *parameters_[i].parameter;
  if (released_[i])
    throw Error("ERR_INTERNAL", parameters_[i].name + " got a second gradient in one backward pass");
  released_[i] = true;
  const at::Tensor norm = at::linalg_vector_norm(parameter.value.grad(), 2, {}, false, at::kFloat);
  const Clipping clipping(norm, step_->max_grad_norm);
  squares_ = squares_ + norm.square();
  found_inf_ = at::maximum(found_inf_, clipping.found_inf);
  parameter.mark_shadow_stale();
  optimizer_.update({i}, step_->learning_rate, clipping.divisor, clipping.found_inf, average());
  parameter.value.mutable_grad().reset();
}

StepReport GradientRelease::finish() {
  const auto moving = average();
  for (size_t i = 0; moving && i < parameters_.size(); ++i)
    if (!released_[i]) moving->move(i, *parameters_[i].parameter);
  step_.reset();
  return {squares_.sqrt(), found_inf_};
}

}  // namespace ip2p

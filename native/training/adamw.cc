#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include "training/bfloat16_weights.h"
#include "training/cpu_adamw.h"

namespace ip2p {
namespace {

at::Tensor bfloat16_copy(const Parameter& parameter) {
  const at::Tensor& copy = parameter.shadow();
  return copy.defined() && copy.scalar_type() == at::kBFloat16 ? copy : at::Tensor();
}

class AdamW : public Optimizer {
 public:
  AdamW(const std::vector<NamedParameter>& parameters, const AdamWOptions& options,
        const std::optional<BFloat16Options>& bfloat16)
      : parameters_(parameters), options_(options), bfloat16_(parameters, bfloat16) {
    for (const auto& [name, parameter] : parameters_) {
      exp_avgs_.push_back(at::zeros_like(**parameter, at::kFloat));
      exp_avg_sqs_.push_back(at::zeros_like(**parameter, at::kFloat));
    }
    step_ = at::zeros({}, parameters_.front().parameter->value.options().dtype(at::kFloat));
  }

  // All parameters share one step count, which does not move when the update is skipped.
  void begin(const at::Tensor& found_inf) override { step_.add_(1 - found_inf); }

  void update(const std::vector<size_t>& which, double learning_rate, const at::Tensor& divisor,
              const at::Tensor& found_inf, const std::optional<WeightAverage>& average) override {
    std::vector<AdamWTensors> all;
    for (const size_t i : which) {
      const at::Tensor& weight = **parameters_[i].parameter;
      if (weight.grad().defined() && !bfloat16_.holds(i))
        all.push_back({weight.detach(), weight.grad(), exp_avgs_[i], exp_avg_sqs_[i],
                       average ? average->tensors[i] : at::Tensor(),
                       bfloat16_copy(*parameters_[i].parameter)});
    }
    const bool in_one_pass = cpu_adamw_takes(all) && found_inf.item<float>() == 0;
    if (in_one_pass) {
      cpu_adamw(all, options_, learning_rate, step_.item<double>(), divisor.item<float>(),
                average ? average->decay : 1);
      for (const size_t i : which) {
        const Parameter& parameter = *parameters_[i].parameter;
        if (parameter.value.grad().defined() && bfloat16_copy(parameter).defined())
          parameters_[i].parameter->mark_shadow_current();
      }
    } else {
      libtorch_step(all, learning_rate, divisor, found_inf);
    }
    bfloat16_step(which, learning_rate, divisor, found_inf);
    if (!average) return;
    for (const size_t i : which)
      if (!in_one_pass || bfloat16_.holds(i) || !parameters_[i].parameter->value.grad().defined())
        average->move(i, *parameters_[i].parameter);
  }

  NamedTensors state() const override {
    NamedTensors all{{"step", step_}};
    for (size_t i = 0; i < parameters_.size(); ++i) {
      all.emplace_back("exp_avg." + parameters_[i].name, exp_avgs_[i]);
      all.emplace_back("exp_avg_sq." + parameters_[i].name, exp_avg_sqs_[i]);
    }
    bfloat16_.append_state(all);
    return all;
  }

 private:
  void libtorch_step(const std::vector<AdamWTensors>& all, double learning_rate, const at::Tensor& divisor,
                     const at::Tensor& found_inf) const {
    if (all.empty()) return;
    std::vector<at::Tensor> weights, gradients, exp_avgs, exp_avg_sqs;
    for (const AdamWTensors& one : all) {
      weights.push_back(one.weight);
      gradients.push_back(one.gradient);
      exp_avgs.push_back(one.exp_avg);
      exp_avg_sqs.push_back(one.exp_avg_sq);
    }
    const std::vector<at::Tensor> steps(weights.size(), step_);
    at::_fused_adamw_(weights, gradients, exp_avgs, exp_avg_sqs, {}, steps, learning_rate, options_.beta1,
                      options_.beta2, options_.weight_decay, options_.epsilon, false, false, divisor,
                      found_inf);
  }

  void bfloat16_step(const std::vector<size_t>& which, double learning_rate, const at::Tensor& divisor,
                     const at::Tensor& found_inf) const {
    for (const size_t i : which) {
      if (!bfloat16_.holds(i) || !parameters_[i].parameter->value.grad().defined()) continue;
      if (found_inf.item<float>() != 0) return;
      bfloat16_.apply(i, step_.item<int64_t>(),
                      [&](const at::Tensor& weight, const at::Tensor& gradient, int64_t offset) {
                        const auto part_of = [&](const at::Tensor& moment) {
                          return moment.view(-1).narrow(0, offset, weight.numel());
                        };
                        const std::vector<AdamWTensors> part{
                            {weight, gradient, part_of(exp_avgs_[i]), part_of(exp_avg_sqs_[i]), {}, {}}};
                        if (cpu_adamw_takes(part))
                          cpu_adamw(part, options_, learning_rate, step_.item<double>(),
                                    divisor.item<float>(), 1);
                        else
                          libtorch_step(part, learning_rate, divisor, found_inf);
                      });
    }
  }

  std::vector<NamedParameter> parameters_;
  AdamWOptions options_;
  BFloat16Weights bfloat16_;
  std::vector<at::Tensor> exp_avgs_, exp_avg_sqs_;
  at::Tensor step_;
};

}  // namespace

std::unique_ptr<Optimizer> make_adamw(const std::vector<NamedParameter>& parameters,
                                      const AdamWOptions& options,
                                      const std::optional<BFloat16Options>& bfloat16) {
  return std::make_unique<AdamW>(parameters, options, bfloat16);
}

}  // namespace ip2p

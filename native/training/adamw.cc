#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include "training/optimizer.h"

namespace ip2p {
namespace {

class AdamW : public Optimizer {
 public:
  AdamW(const std::vector<NamedParameter>& parameters, const AdamWOptions& options)
      : parameters_(parameters), options_(options) {
    for (const auto& [name, parameter] : parameters_) {
      exp_avgs_.push_back(at::zeros_like(**parameter));
      exp_avg_sqs_.push_back(at::zeros_like(**parameter));
    }
    step_ = at::zeros({}, parameters_.front().parameter->value.options());
  }

  void step(double learning_rate, const at::Tensor& divisor, const at::Tensor& found_inf) override {
    std::vector<at::Tensor> weights, gradients, exp_avgs, exp_avg_sqs;
    for (size_t i = 0; i < parameters_.size(); ++i) {
      const at::Tensor& weight = **parameters_[i].parameter;
      if (!weight.grad().defined()) continue;
      weights.push_back(weight.detach());
      gradients.push_back(weight.grad());
      exp_avgs.push_back(exp_avgs_[i]);
      exp_avg_sqs.push_back(exp_avg_sqs_[i]);
    }
    // All parameters share one step count, which does not move when the update is skipped.
    step_.add_(1 - found_inf);
    const std::vector<at::Tensor> steps(weights.size(), step_);
    at::_fused_adamw_(weights, gradients, exp_avgs, exp_avg_sqs, {}, steps, learning_rate, options_.beta1,
                      options_.beta2, options_.weight_decay, options_.epsilon, false, false, divisor,
                      found_inf);
  }

  NamedTensors state() const override {
    NamedTensors all{{"step", step_}};
    for (size_t i = 0; i < parameters_.size(); ++i) {
      all.emplace_back("exp_avg." + parameters_[i].name, exp_avgs_[i]);
      all.emplace_back("exp_avg_sq." + parameters_[i].name, exp_avg_sqs_[i]);
    }
    return all;
  }

 private:
  std::vector<NamedParameter> parameters_;
  AdamWOptions options_;
  std::vector<at::Tensor> exp_avgs_, exp_avg_sqs_;
  at::Tensor step_;
};

}  // namespace

std::unique_ptr<Optimizer> make_adamw(const std::vector<NamedParameter>& parameters,
                                      const AdamWOptions& options) {
  return std::make_unique<AdamW>(parameters, options);
}

}  // namespace ip2p

#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "training/optimizer.h"

namespace ip2p {
namespace {

/// The first estimate of the distance to the solution.
constexpr double kFirstDistance = 1e-6;

class Prodigy : public Optimizer {
 public:
  Prodigy(const std::vector<NamedParameter>& parameters, const AdamWOptions& options)
      : parameters_(parameters), options_(options) {
    for (const auto& [name, parameter] : parameters_) {
      const at::Tensor weight = (**parameter).detach();
      first_.push_back(weight.clone());
      sums_.push_back(at::zeros_like(weight));
      exp_avgs_.push_back(at::zeros_like(weight));
      exp_avg_sqs_.push_back(at::zeros_like(weight));
    }
    // On the host, in double precision: one number of all parameters.
    distance_ = at::full({}, kFirstDistance, at::kDouble);
    numerator_ = at::zeros({}, at::kDouble);
  }

  void begin(const at::Tensor&) override {}
  bool updates_singly() const override { return false; }

  void update(const std::vector<size_t>& which, double learning_rate, const at::Tensor& divisor,
              const at::Tensor& found_inf, const std::optional<WeightAverage>& average) override {
    if (which.size() != parameters_.size())
      throw Error("ERR_INTERNAL", "Prodigy updates all parameters together");
    if (found_inf.item<float>() == 0) update_all(learning_rate, divisor);
    if (!average) return;
    for (const size_t i : which) average->move(i, *parameters_[i].parameter);
  }

  NamedTensors state() const override {
    NamedTensors all{{"distance", distance_}, {"numerator", numerator_}};
    for (size_t i = 0; i < parameters_.size(); ++i) {
      const std::string& name = parameters_[i].name;
      all.emplace_back("first." + name, first_[i]);
      all.emplace_back("sum." + name, sums_[i]);
      all.emplace_back("exp_avg." + name, exp_avgs_[i]);
      all.emplace_back("exp_avg_sq." + name, exp_avg_sqs_[i]);
    }
    return all;
  }

 private:
  void update_all(double learning_rate, const at::Tensor& divisor) {
    const double beta1 = options_.beta1, beta2 = options_.beta2, beta3 = std::sqrt(beta2);
    const double distance = distance_.item<double>(), rate = distance * learning_rate;
    const double grown = distance / kFirstDistance;
    double numerator = beta3 * numerator_.item<double>(), denominator = 0;
    if (learning_rate > 0) {
      for (size_t i = 0; i < parameters_.size(); ++i) {
        const at::Tensor& parameter = **parameters_[i].parameter;
        if (!parameter.grad().defined()) continue;
        const at::Tensor weight = parameter.detach(), gradient = parameter.grad() / divisor;
        numerator += grown * rate * (gradient * (first_[i] - weight)).sum(at::kDouble).item<double>();
        exp_avgs_[i].mul_(beta1).add_(gradient, distance * (1 - beta1));
        exp_avg_sqs_[i].mul_(beta2).addcmul_(gradient, gradient, distance * distance * (1 - beta2));
        sums_[i].mul_(beta3).add_(gradient, grown * rate);
        denominator += sums_[i].abs().sum(at::kDouble).item<double>();
      }
    }
    numerator_.fill_(numerator);
    // Without a denominator all gradients have been zero so far.
    if (denominator == 0) return;
    const double now = std::max(distance, numerator / denominator);
    distance_.fill_(now);
    for (size_t i = 0; i < parameters_.size(); ++i) {
      const at::Tensor& parameter = **parameters_[i].parameter;
      if (!parameter.grad().defined()) continue;
      const at::Tensor weight = parameter.detach();
      if (options_.weight_decay != 0) weight.mul_(1 - options_.weight_decay * rate);
      weight.addcdiv_(exp_avgs_[i], exp_avg_sqs_[i].sqrt().add_(now * options_.epsilon), -rate);
    }
  }

  std::vector<NamedParameter> parameters_;
  AdamWOptions options_;
  std::vector<at::Tensor> first_, sums_, exp_avgs_, exp_avg_sqs_;
  at::Tensor distance_, numerator_;
};

}  // namespace

std::unique_ptr<Optimizer> make_prodigy(const std::vector<NamedParameter>& parameters,
                                        const AdamWOptions& options) {
  return std::make_unique<Prodigy>(parameters, options);
}

}  // namespace ip2p

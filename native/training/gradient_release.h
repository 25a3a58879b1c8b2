#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "training/optimizer.h"

namespace ip2p {

/// What must be known before a backward pass that updates the parameters.
struct ReleasedStep {
  double learning_rate;
  /// Each parameter's gradient is clipped to this norm by itself, since that of all together is not known
  /// yet.
  double max_grad_norm;
  std::optional<double> ema_decay;
};

/// Updates each parameter within the backward pass, as soon as its gradient is there, and frees the gradient,
/// so that there are never all of them (Lv et al. 2023, "Full Parameter Fine-tuning for Large Language Models
/// with Limited Resources", https://arxiv.org/abs/2306.09782).
class GradientRelease {
 public:
  /// @param averages of the parameters; empty without any
  GradientRelease(std::vector<NamedParameter> parameters, Optimizer& optimizer,
                  const std::vector<at::Tensor>& averages);
  ~GradientRelease();

  /// The next backward pass is that of a step.
  void begin(const ReleasedStep& step);

  /// The norm of all gradients before clipping, and whether some were not finite: their parameters did not
  /// change, though others did. Moves the averages of parameters that got no gradient.
  StepReport finish();

  /// Forgets a step whose backward pass failed; some parameters may have changed.
  void abandon() { step_.reset(); }

  /// Whether a step has begun and is not finished.
  bool begun() const { return step_.has_value(); }

 private:
  struct Hook;

  void on_gradient(size_t i);
  std::optional<WeightAverage> average() const;

  std::vector<NamedParameter> parameters_;
  Optimizer& optimizer_;
  const std::vector<at::Tensor>& averages_;
  std::optional<ReleasedStep> step_;
  std::vector<bool> released_;
  at::Tensor squares_, found_inf_;  ///< [] float32: of the gradients so far
  std::vector<std::unique_ptr<Hook>> hooks_;
};

}  // namespace ip2p

#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "nn/module.h"

namespace ip2p {

struct AdamWOptions {
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 1e-2;
};

/// How float32 results are rounded into bfloat16 weights.
enum class BFloat16Rounding { Stochastic, Compensated };

/// How to keep the weights of products in bfloat16.
struct BFloat16Options {
  BFloat16Rounding rounding = BFloat16Rounding::Stochastic;
  uint64_t seed = 0;  ///< of stochastic rounding
};

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

/// Results of an optimizer step: one-element tensors on the device, so that reading them is the caller's
/// choice.
struct StepReport {
  at::Tensor gradient_norm;  ///< of all gradients together, before clipping, loss scale taken out
  at::Tensor skipped;        ///< 1 if the norm was not finite and nothing was changed
};

/// The moving average of the parameters, in their order.
struct WeightAverage {
  const std::vector<at::Tensor>& tensors;
  double decay;

  /// average ← average − (1 − decay) · (average − weight), for one of them.
  void move(size_t i, const Parameter& weight) const;
};

/// What an update does to gradients of a norm: one-element tensors.
struct Clipping {
  /// @param norm without the loss scale
  Clipping(const at::Tensor& norm, double max_norm, double loss_scale = 1);

  at::Tensor found_inf;  ///< 1 if the norm is not finite
  at::Tensor divisor;    ///< loss scale over clipping factor
};

/// Updates parameters from their gradients.
class Optimizer {
 public:
  virtual ~Optimizer() = default;

  /// Counts a step, unless `found_inf` (one element) is 1. Each parameter can be updated once in it.
  virtual void begin(const at::Tensor& found_inf) = 0;

  /// Updates some of the parameters, by their places, with the gradients divided by `divisor` (one element:
  /// loss scale over clipping factor). No parameter changes where `found_inf` is 1; both stay on the device,
  /// so that the host need not wait. `average`, if given, is always updated. Shadow weights are stale
  /// afterwards, except those that the optimizer marks as current.
  virtual void update(const std::vector<size_t>& which, double learning_rate, const at::Tensor& divisor,
                      const at::Tensor& found_inf, const std::optional<WeightAverage>& average) = 0;

  /// Whether the update of a parameter depends on its own gradient alone, so that they can come one by one.
  virtual bool updates_singly() const { return true; }

  /// The state to resume from, by name; the tensors themselves, not copies.
  virtual NamedTensors state() const = 0;
};

/// Adam with decoupled weight decay (Loshchilov & Hutter 2019), as `torch.optim.AdamW`. Parameters are
/// float32 at first; with `bfloat16`, those of products become bfloat16.
std::unique_ptr<Optimizer> make_adamw(const std::vector<NamedParameter>& parameters,
                                      const AdamWOptions& options,
                                      const std::optional<BFloat16Options>& bfloat16);

/// The same with moments in 8 bits, quantized block by block (Dettmers et al. 2022, "8-bit Optimizers via
/// Block-wise Quantization"), as bitsandbytes' `AdamW8bit`.
std::unique_ptr<Optimizer> make_adamw_8bit(const std::vector<NamedParameter>& parameters,
                                           const AdamWOptions& options,
                                           const std::optional<BFloat16Options>& bfloat16);

/// The sign of an interpolated moment as the update (Chen et al. 2023, "Symbolic Discovery of Optimization
/// Algorithms", Lion), with the moment in 8 bits, as bitsandbytes' `Lion8bit`. `epsilon` is not used.
std::unique_ptr<Optimizer> make_lion_8bit(const std::vector<NamedParameter>& parameters,
                                          const AdamWOptions& options);

/// AdamW that estimates its own step size from the distance it has come (Mishchenko & Defazio 2023, "Prodigy:
/// An Expeditiously Adaptive Parameter-Free Learner", algorithm 4); the learning rate multiplies it, usually
/// 1. As `prodigyopt` with its defaults.
std::unique_ptr<Optimizer> make_prodigy(const std::vector<NamedParameter>& parameters,
                                        const AdamWOptions& options);

}  // namespace ip2p

#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "distributed/gradient_reducer.h"
#include "models/model.h"
#include "nn/low_rank_adapter.h"
#include "training/gradient_release.h"
#include "training/optimizer.h"
#include "training/weight_traces.h"

namespace ip2p {

/// One process's part of the optimizer's state and of the averages (ZeRO stage 1: Rajbhandari et al. 2020,
/// "ZeRO: Memory Optimizations Toward Training Trillion Parameter Models", https://arxiv.org/abs/1910.02054):
/// each process updates some of the parameters, and hands them to the others.
struct Shard {
  int rank, count;
};

enum class OptimizerKind { AdamW, AdamW8bit, Lion8bit, Prodigy };

struct TrainerOptions {
  AdamWOptions adamw;
  /// Without it this process updates all parameters.
  std::optional<Shard> shard;
  /// Keeps the weights of linear and convolutional layers in bfloat16, and so their gradients. All other
  /// weights, which are few and sensitive, stay float32.
  std::optional<BFloat16Options> bfloat16;
  OptimizerKind optimizer = OptimizerKind::AdamW;
  /// Of the masks of adapters' dropout.
  uint64_t dropout_seed = 0;
  bool use_ema = false;
  /// Keeps the moving averages in the host's memory.
  bool offload_ema = false;
  /// Further moving averages, see WeightTraces.
  int traces = 0;
  bool gradient_checkpointing = false;
  /// Updates the parameters within the backward pass of a micro-step that is told how, see GradientRelease.
  bool release_gradients = false;
  /// Keeps shadow weights in the type of mixed precision instead of casting the float32 weights in every
  /// pass: identical results, faster, for two bytes per weight.
  bool shadow_weights = false;
  /// bfloat16 or float16: operators run in it by libtorch's autocast rules, weights keep their type.
  std::optional<c10::ScalarType> mixed_precision;
};

/// What is trained of a model, under names that begin with the prefix: all its parameters or, if it has
/// adapters, their factors ("….lora_A.weight", "….lora_B.weight") and the parameters that they leave.
std::vector<NamedParameter> trained_parameters(Model& model, const std::string& prefix = "");

/// Trains parameters in place: they become leaves of the autograd graph. The subclasses own the models that
/// hold the parameters, and define the loss.
class ParameterTrainer {
 public:
  /// @param models whose trained parameters are trained, by prefix; on one device. Frozen weights of products
  ///   are narrowed to bfloat16 where they are multiplied in it anyway.
  ParameterTrainer(const std::vector<std::pair<std::string, Model*>>& models, const TrainerOptions& options);
  virtual ~ParameterTrainer() = default;

  c10::Device device() const { return device_; }

  /// Unscales the gradients, clips their norm, updates the parameters and clears the gradients. With
  /// `ema_decay` it ends with update_ema, fused into the same pass. After a micro-step that did all that, it
  /// only reports.
  StepReport step(double learning_rate, double max_grad_norm, double loss_scale,
                  const std::optional<double>& ema_decay);

  /// From now on this is one of several processes that train together: takes over rank 0's weights and
  /// averages, and micro-steps that reduce average the gradients over all processes.
  /// @param exchanged_as see GradientReducer
  void distribute(const std::shared_ptr<ProcessGroup>& group,
                  std::optional<c10::ScalarType> exchanged_as = std::nullopt);

  /// The part of a process whose last micro-step has no data.
  void reduce_gradients();

  /// average ← average − (1 − decay) · (average − weights), as diffusers' EMAModel.
  void update_ema(double decay);

  void update_traces(const std::vector<double>& decays) { traces_.update(decays); }

  /// Exchanges the weights with their average: for validation and saving, and back.
  void swap_ema();
  bool has_ema() const { return !ema_.empty(); }

  /// Takes the averages that other processes hold, so that this one can exchange all weights with them, until
  /// they are given back. ERR_STATE_DICT
  void borrow_ema(const NamedTensors& others);
  void give_ema_back();

  void forget_gradients();

  const std::vector<NamedParameter>& parameters() const { return parameters_; }
  /// Of a shard: its part.
  NamedTensors optimizer_state() const;
  NamedTensors ema_state() const;
  NamedTensors traces_state() const { return traces_.state(); }
  /// What is trained, by name: the tensors themselves.
  NamedTensors weights() const;

 protected:
  /// A micro-step: forward under autocast, then backward. Accumulates the gradients of factor · loss. → the
  /// loss without the factor, one element
  /// @param reduces afterwards the gradients are the averages of all processes
  /// @param released updates the parameters, unless the loss is not finite
  at::Tensor accumulate(const std::function<at::Tensor()>& loss, double factor, bool reduces = false,
                        const std::optional<ReleasedStep>& released = std::nullopt);

 private:
  at::Tensor new_average(size_t i) const;
  bool is_mine(size_t i) const { return owners_[i] == options_.shard.value_or(Shard{0, 1}).rank; }
  void distribute_weights();
  void narrow_frozen(Model& model) const;
  void begin_dropout(Model& model);

  c10::Device device_;
  TrainerOptions options_;
  std::vector<NamedParameter> parameters_;
  std::vector<int> owners_;  ///< which process updates each parameter
  std::unique_ptr<Optimizer> optimizer_;
  std::vector<at::Tensor> ema_;  ///< undefined for those of other processes
  WeightTraces traces_;
  std::shared_ptr<ProcessGroup> group_;
  /// Optimizer steps that dropout has seen: int64 []; undefined without dropout.
  at::Tensor dropout_step_;
  std::shared_ptr<DropoutDraw> draw_;
  std::unique_ptr<GradientReducer> reducer_;  // null in a process that trains alone
  std::unique_ptr<GradientRelease> release_;  // null where all gradients are kept until the step
};

}  // namespace ip2p

#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <optional>
#include <vector>

#include "models/unet_2d_condition.h"
#include "training/optimizer.h"

namespace ip2p {

struct TrainerOptions {
  AdamWOptions adamw;
  bool use_8bit_adam = false;
  bool use_ema = false;
  bool gradient_checkpointing = false;
  /// bfloat16 or float16: operators run in it by libtorch's autocast rules, weights stay float32.
  std::optional<c10::ScalarType> mixed_precision;
};

/// What an optimiser step found; device tensors of one element, read by whoever wants to know.
struct StepReport {
  at::Tensor gradient_norm;  ///< of all gradients together, before clipping, loss scale taken out
  at::Tensor skipped;        ///< 1 if the norm was not finite and nothing was changed
};

/// Trains a UNet in place: its parameters become leaves of the autograd graph, in float32.
class Trainer {
 public:
  Trainer(std::shared_ptr<UNet2DConditionModel> unet, const TrainerOptions& options);

  UNet2DConditionModel& unet() { return *unet_; }

  /// Forward, mean squared error in float32, backward. Gradients of factor · loss are added to those there
  /// are. sample: [B,in,h,w]; timesteps: [B]; context: [B,T,D]; target: [B,out,h,w]. → the loss, one element,
  /// unscaled
  at::Tensor micro_step(const at::Tensor& sample, const at::Tensor& timesteps, const at::Tensor& context,
                        const at::Tensor& target, double factor);

  /// Takes the loss scale out of the gradients, clips their norm, updates the parameters and forgets the
  /// gradients.
  StepReport step(double learning_rate, double max_grad_norm, double loss_scale);

  /// average ← average − (1 − decay) · (average − weights), as diffusers' EMAModel.
  void update_ema(double decay);

  /// Exchanges the weights with their average: for validation and saving, and back.
  void swap_ema();
  bool has_ema() const { return !ema_.empty(); }

  void forget_gradients();

  std::vector<NamedParameter> parameters() const { return parameters_; }
  NamedTensors optimizer_state() const { return optimizer_->state(); }
  NamedTensors ema_state() const;

 private:
  std::shared_ptr<UNet2DConditionModel> unet_;
  TrainerOptions options_;
  std::vector<NamedParameter> parameters_;
  std::unique_ptr<Optimizer> optimizer_;
  std::vector<at::Tensor> ema_;
};

}  // namespace ip2p

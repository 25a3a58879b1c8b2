#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "models/autoencoder_kl.h"
#include "models/clip_text_model.h"
#include "models/unet_2d_condition.h"
#include "training/optimizer.h"

namespace ip2p {

struct TrainerOptions {
  AdamWOptions adamw;
  bool use_8bit_adam = false;
  bool use_ema = false;
  bool gradient_checkpointing = false;
  /// Keeps shadow weights in the type of mixed precision instead of casting the float32 weights in every
  /// pass: identical results, faster, for two bytes per weight.
  bool shadow_weights = false;
  /// bfloat16 or float16: operators run in it by libtorch's autocast rules, weights stay float32.
  std::optional<c10::ScalarType> mixed_precision;
};

/// Results of an optimizer step: one-element tensors on the device, so that reading them is the caller's
/// choice.
struct StepReport {
  at::Tensor gradient_norm;  ///< of all gradients together, before clipping, loss scale taken out
  at::Tensor skipped;        ///< 1 if the norm was not finite and nothing was changed
};

/// A model to train, and the prefix of its parameters' names in the trainer's state.
struct TrainedModel {
  std::string prefix;
  std::shared_ptr<Model> model;
};

/// Trains models in place: their parameters become leaves of the autograd graph, in float32. The subclasses
/// define the loss.
class Trainer {
 public:
  Trainer(std::vector<TrainedModel> models, const TrainerOptions& options);
  virtual ~Trainer() = default;

  c10::Device device() const { return models_.front().model->device(); }

  /// Unscales the gradients, clips their norm, updates the parameters and clears the gradients. With
  /// `ema_decay` it ends with update_ema, fused into the same pass.
  StepReport step(double learning_rate, double max_grad_norm, double loss_scale,
                  const std::optional<double>& ema_decay);

  /// average ← average − (1 − decay) · (average − weights), as diffusers' EMAModel.
  void update_ema(double decay);

  /// Exchanges the weights with their average: for validation and saving, and back.
  void swap_ema();
  bool has_ema() const { return !ema_.empty(); }

  void forget_gradients();

  /// Of all models, prefixes included.
  const std::vector<NamedParameter>& parameters() const { return parameters_; }
  NamedTensors optimizer_state() const { return optimizer_->state(); }
  NamedTensors ema_state() const;

 protected:
  /// A micro-step: forward under autocast, then backward. Accumulates the gradients of factor · loss. → the
  /// loss without the factor, one element
  at::Tensor accumulate(const std::function<at::Tensor()>& loss, double factor);

 private:
  std::vector<TrainedModel> models_;
  TrainerOptions options_;
  std::vector<NamedParameter> parameters_;
  std::unique_ptr<Optimizer> optimizer_;
  std::vector<at::Tensor> ema_;
};

/// Trains a UNet to denoise and, if one is given, the text encoder along with it ("text_encoder." names).
class DenoisingTrainer : public Trainer {
 public:
  DenoisingTrainer(std::shared_ptr<UNet2DConditionModel> unet, std::shared_ptr<CLIPTextModel> text_encoder,
                   const TrainerOptions& options);

  /// Forward, mean squared error in float32, backward. sample: [B,in,h,w]; timesteps: [B]; text: embeddings
  /// [B,T,D] or, where the text encoder is trained, token ids int64 [B,T]; target: [B,out,h,w].
  at::Tensor micro_step(const at::Tensor& sample, const at::Tensor& timesteps, const at::Tensor& text,
                        const at::Tensor& target, double factor);

 private:
  std::shared_ptr<UNet2DConditionModel> unet_;
  std::shared_ptr<CLIPTextModel> text_encoder_;
};

/// Trains an autoencoder to reconstruct pictures (Rombach et al. 2022, without the adversarial part).
class AutoencoderTrainer : public Trainer {
 public:
  AutoencoderTrainer(std::shared_ptr<AutoencoderKL> vae, const TrainerOptions& options);

  /// Mean squared error of the reconstruction from a sample of the posterior, plus kl_weight times the mean
  /// Kullback-Leibler divergence of the posterior from a standard normal. x: [B,C,H,W] in -1..1; noise:
  /// [B,latent_channels,h,w], standard normal.
  at::Tensor micro_step(const at::Tensor& x, const at::Tensor& noise, double kl_weight, double factor);

 private:
  std::shared_ptr<AutoencoderKL> vae_;
};

}  // namespace ip2p

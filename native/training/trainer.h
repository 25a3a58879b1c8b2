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
  /// Keeps the weights in the type of mixed precision beside those in float32, instead of casting them anew
  /// in every pass: the same numbers sooner, for two bytes a weight.
  bool shadow_weights = false;
  /// bfloat16 or float16: operators run in it by libtorch's autocast rules, weights stay float32.
  std::optional<c10::ScalarType> mixed_precision;
};

/// What an optimiser step found; device tensors of one element, read by whoever wants to know.
struct StepReport {
  at::Tensor gradient_norm;  ///< of all gradients together, before clipping, loss scale taken out
  at::Tensor skipped;        ///< 1 if the norm was not finite and nothing was changed
};

/// A model to train, and what its parameters' names begin with in the trainer's state.
struct TrainedModel {
  std::string prefix;
  std::shared_ptr<Model> model;
};

/// Trains models in place: their parameters become leaves of the autograd graph, in float32. What the loss is
/// belongs to the classes below.
class Trainer {
 public:
  Trainer(std::vector<TrainedModel> models, const TrainerOptions& options);
  virtual ~Trainer() = default;

  c10::Device device() const { return models_.front().model->device(); }

  /// Takes the loss scale out of the gradients, clips their norm, updates the parameters and forgets the
  /// gradients. With `ema_decay` it ends with update_ema, which is cheaper in one go.
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
  /// Computes a loss with gradients on, in the types of mixed precision; then backward. Gradients of factor ·
  /// loss are added to those there are. → the loss, one element, not multiplied
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

#pragma once

#include "models/autoencoder_kl.h"
#include "training/parameter_trainer.h"

namespace ip2p {

/// Trains an autoencoder to reconstruct images (Rombach et al. 2022, without the adversarial part).
class AutoencoderTrainer : public ParameterTrainer {
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

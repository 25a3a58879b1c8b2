#include "training/autoencoder_trainer.h"

#include <ATen/ops/mse_loss.h>

#include "core/cancel.h"
#include "core/error.h"

namespace ip2p {

AutoencoderTrainer::AutoencoderTrainer(std::shared_ptr<AutoencoderKL> vae, const TrainerOptions& options)
    : ParameterTrainer({{"", vae.get()}}, options), vae_(std::move(vae)) {}

at::Tensor AutoencoderTrainer::micro_step(const at::Tensor& x, const at::Tensor& noise, double kl_weight,
                                          double factor) {
  return accumulate(
      [&] {
        const std::vector<at::Tensor> moments =
            vae_->encode(x, false, std::nullopt).to(at::kFloat).chunk(2, 1);
        const at::Tensor &mean = moments[0], logvar = moments[1].clamp(-30, 20);
        if (!noise.sizes().equals(mean.sizes()))
          throw Error("ERR_INVALID_ARGUMENT", "the noise differs in shape from the latents");
        check_cancelled();
        const at::Tensor decoded = vae_->decode(mean + (0.5 * logvar).exp() * noise, false, std::nullopt);
        const at::Tensor divergence = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean();
        return at::mse_loss(decoded.to(at::kFloat), x.to(at::kFloat)) + kl_weight * divergence;
      },
      factor);
}

}  // namespace ip2p

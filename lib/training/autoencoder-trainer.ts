import { Tensor } from "../core/tensor.js";
import type { AutoencoderKL } from "../models/autoencoder_kl.js";
import type { NativeTrainer } from "../runtime/contract/index.js";
import { cancellable, native } from "../runtime/native.js";
import { nativeOptions, ParameterTrainer, type TrainerOptions } from "./parameter-trainer.js";

/**
 * Trains an autoencoder in place to reconstruct images: mean squared error, and a small KL term that keeps its
 * latents near a standard normal (Rombach et al. 2022, https://arxiv.org/abs/2112.10752, without discriminator).
 */
export class AutoencoderTrainer extends ParameterTrainer {
  private constructor(handle: NativeTrainer) {
    super(handle);
  }

  /** @throws `ERR_INVALID_ARGUMENT` if the weights are not float32, `ERR_OUT_OF_MEMORY` */
  static async create(vae: AutoencoderKL, options: TrainerOptions): Promise<AutoencoderTrainer> {
    vae.expectChanges();
    return new AutoencoderTrainer(await native().createAutoencoderTrainer(vae.handle, nativeOptions(options)));
  }

  /**
   * Encodes, samples, decodes, and accumulates the gradients of `factor` · (squared error + `klWeight` · KL
   * divergence).
   *
   * @param batch.x images [B,C,H,W] in -1..1
   * @param batch.noise standard normal [B,latent_channels,h,w], for the sample of the posterior
   * @param batch.klWeight weight of the mean divergence of a latent's posterior from a standard normal
   * @returns the loss, a tensor of one element
   */
  async accumulate(
    { x, noise, klWeight }: { x: Tensor; noise: Tensor; klWeight: number },
    factor: number,
    options: { signal?: AbortSignal } = {},
  ): Promise<Tensor> {
    return new Tensor(
      await cancellable(options.signal, (token) =>
        native().trainerAutoencoderStep(this.handle, x.handle, noise.handle, klWeight, factor, token),
      ),
    );
  }
}

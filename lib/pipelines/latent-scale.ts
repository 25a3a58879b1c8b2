import { Scope } from "../core/scope.js";
import { type ModelDType, Tensor } from "../core/tensor.js";
import type { AutoencoderKLConfig } from "../models/autoencoder_kl.js";

type ScaleConfig = Pick<AutoencoderKLConfig, "scaling_factor" | "latents_mean" | "latents_std">;

/** How an autoencoder's latents [B,C,h,w] are scaled for the UNet. */
export interface LatentScale {
  /** From the autoencoder to the UNet. */
  apply(latents: Tensor): Promise<Tensor>;
  /** From the UNet to the autoencoder, in a type. */
  revert(latents: Tensor, dtype: ModelDType): Promise<Tensor>;
}

/** By one factor, as in Stable Diffusion. */
export function scaleByFactor({ scaling_factor: factor }: ScaleConfig): LatentScale {
  return {
    apply: (latents) => Tensor.linearCombination([[factor, latents]]),
    revert: (latents, dtype) => Tensor.linearCombination([[1 / factor, latents]], { dtype }),
  };
}

/** By mean and deviation of each channel too, as in SDXL; without these by the factor alone. */
export function scaleByStatistics(config: ScaleConfig): LatentScale {
  const { scaling_factor: factor, latents_mean: means, latents_std: deviations } = config;
  if (!means || !deviations) return scaleByFactor(config);
  /** [1,C,1,1] */
  const perChannel = async (values: readonly number[], { device, dtype }: Tensor, scope: Scope) =>
    scope.add(await scope.add(Tensor.from(values, [1, values.length, 1, 1])).to({ device, dtype }));
  return {
    apply: async (latents) => {
      using scope = new Scope();
      const centred = scope.add(await latents.sub(await perChannel(means, latents, scope)));
      const scaled = scope.add(await centred.mul(factor));
      return await scaled.div(await perChannel(deviations, latents, scope));
    },
    revert: async (latents, dtype) => {
      using scope = new Scope();
      const own = scope.add(await latents.to({ dtype }));
      const spread = scope.add(await own.mul(await perChannel(deviations, own, scope)));
      const unscaled = scope.add(await spread.div(factor));
      return await unscaled.add(await perChannel(means, own, scope));
    },
  };
}

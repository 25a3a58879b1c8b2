import type { Generator } from "../core/generator.js";
import { type DType, Tensor } from "../core/tensor.js";
import { biasedTimestep, type TimestepBias } from "./timestep-bias.js";

/** The random numbers of one micro-step, in order of use. */
export interface Draws {
  /** Standard normal, for the sample of the edited image's posterior. */
  posteriorNoise(shape: readonly number[], dtype: DType): Promise<Tensor>;
  /** Standard normal, as `torch.randn_like`: the noise added to the latents. */
  noise(latents: Tensor): Promise<Tensor>;
  /** Standard normal, for whatever else is added to the noise. */
  normal(shape: readonly number[], dtype: DType): Promise<Tensor>;
  /** In 0..trainTimesteps−1, one for each row; uniform if there is no bias. */
  timesteps(batch: number, trainTimesteps: number): Promise<Tensor>;
  /** Uniform in [0,1), one for each row: for conditioning dropout. */
  dropout(batch: number): Promise<number[]>;
}

/**
 * Draws from two generators, as the reference does: one for conditioning dropout, one for everything else.
 *
 * @param bias of the timesteps
 */
export function drawsFrom(
  generator: Generator,
  dropoutGenerator: Generator,
  device: string,
  bias?: TimestepBias,
): Draws {
  const uniform = async (batch: number, generator: Generator) => {
    using tensor = await Tensor.rand([batch], { generator });
    return Array.from(await tensor.toArray(), Number);
  };
  const normal = (shape: readonly number[], dtype: DType) => Tensor.randn(shape, { generator, dtype, device });
  return {
    posteriorNoise: normal,
    normal,
    noise: (latents) => Tensor.randnLike(latents, { generator }),
    timesteps: async (batch, trainTimesteps) => {
      if (!bias) return Tensor.randint(0, trainTimesteps, [batch], { generator });
      const timesteps = (await uniform(batch, generator)).map((u) => BigInt(biasedTimestep(u, trainTimesteps, bias)));
      return Tensor.from(BigInt64Array.from(timesteps), [batch]);
    },
    dropout: (batch) => uniform(batch, dropoutGenerator),
  };
}

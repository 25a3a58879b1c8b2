import type { Generator } from "../generator.js";
import { type DType, Tensor } from "../tensor.js";

/** The random numbers of one micro-step, in the order in which they are asked for. */
export interface Draws {
  /** Standard normal, for the sample of the edited picture's posterior. */
  posteriorNoise(shape: readonly number[], dtype: DType): Promise<Tensor>;
  /** Standard normal, as `torch.randn_like`: what is added to the latents. */
  noise(latents: Tensor): Promise<Tensor>;
  /** Uniform in 0..trainTimesteps−1, one for each row. */
  timesteps(batch: number, trainTimesteps: number): Promise<Tensor>;
  /** Uniform in [0,1), one for each row: decides which conditioning is dropped. */
  dropout(batch: number): Promise<number[]>;
}

/** Draws from two generators, as the reference does: one for conditioning dropout, one for everything else. */
export function drawsFrom(generator: Generator, dropoutGenerator: Generator, device: string): Draws {
  return {
    posteriorNoise: (shape, dtype) => Tensor.randn(shape, { generator, dtype, device }),
    noise: (latents) => Tensor.randnLike(latents, { generator }),
    timesteps: (batch, trainTimesteps) => Tensor.randint(0, trainTimesteps, [batch], { generator }),
    dropout: async (batch) => {
      using uniform = await Tensor.rand([batch], { generator: dropoutGenerator });
      return Array.from(await uniform.toArray(), Number);
    },
  };
}

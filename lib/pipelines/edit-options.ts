import type { Generator } from "../core/generator.js";
import type { Tensor } from "../core/tensor.js";
import type { RgbImage } from "../images/index.js";
import type { PipelineImage } from "./image-input.js";

export type OutputType = "image" | "tensor" | "latent";

/** @typeParam T the kind of result: `EditOptions` gives pictures, `EditOptions<"tensor">` a tensor. */
export interface EditOptions<T extends OutputType = "image"> {
  /** The instruction, or one for each row of the batch. Either this or `promptEmbeds`. */
  prompt?: string | readonly string[] | undefined;
  /**
   * The picture to edit (path, URL, encoded bytes, sharp instance, RgbImage), several, or a tensor: pixels [B,3,H,W] in 0..1,
   * or image latents [B,C,h,w], used unchanged (the unscaled mean of `vae.encode`).
   */
  image: PipelineImage;
  /** The negative prompt: what to avoid. Default: the empty prompt. Ignored without guidance. */
  negativePrompt?: string | readonly string[] | undefined;
  /** Denoising steps, 1..num_train_timesteps. Default 100. */
  numInferenceSteps?: number | undefined;
  /** Text guidance scale: how strongly the instruction is followed. Default 7.5. */
  guidanceScale?: number | undefined;
  /** Image guidance scale: how closely the result follows the picture. Default 1.5. Guidance is on if `guidanceScale` > 1 and this is ≥ 1. */
  imageGuidanceScale?: number | undefined;
  /**
   * The guided part of the steps, as two fractions of their number; unguided steps compute one row instead of three.
   * Faster and not exact (Kynkäänniemi et al. 2024, https://arxiv.org/abs/2404.07724). Default [0, 1]: all.
   */
  guidanceInterval?: readonly [number, number] | undefined;
  /**
   * Computes the deep levels of the UNet only in every n-th step. Faster and not exact (Ma et al. 2023,
   * https://arxiv.org/abs/2312.00858). Default 1: in every step.
   */
  deepCacheInterval?: number | undefined;
  /** Default 1. */
  numImagesPerPrompt?: number | undefined;
  /** η of DDIM, 0..1; other schedulers ignore it. Default 0. */
  eta?: number | undefined;
  /** Source of all noise: one generator, or one for each output picture. Either this or `seed`. */
  generator?: Generator | readonly Generator[] | undefined;
  /** Seeds a CPU generator, so that a seed means the same picture on every device. Random if left out. */
  seed?: number | bigint | undefined;
  /** Initial noise instead of a random draw: [B·n,C,h,w], unit variance. */
  latents?: Tensor | undefined;
  /** Prompt embeddings [B,T,D] instead of `prompt`. */
  promptEmbeds?: Tensor | undefined;
  /** Prompt embeddings [B,T,D] instead of `negativePrompt`. */
  negativePromptEmbeds?: Tensor | undefined;
  /** "image" (default): RgbImage; "tensor": one Tensor [B·n,3,H,W] in 0..1; "latent": one Tensor [B·n,C,h,w]. */
  outputType?: T | undefined;
  /**
   * Allows NaN and infinity in inputs and results; pictures are black there. Default false: `ERR_INVALID_ARGUMENT` for
   * inputs, `ERR_NOT_FINITE` for results.
   */
  allowNonFinite?: boolean | undefined;
  /** Stops the run within a step; it rejects with `ERR_ABORTED`. */
  signal?: AbortSignal | undefined;
  /**
   * Called and awaited after every step. `progress.latents` belong to the pipeline, which frees them after the next step:
   * clone them to keep them. Returning `{ latents }` replaces them by a tensor of the same shape, type and device, which stays
   * the caller's.
   */
  onStep?: ((progress: StepProgress) => StepResult | Promise<StepResult>) | undefined;
}

export interface StepProgress {
  /** Counts from 0. */
  step: number;
  /** Total number of steps: second-order schedulers evaluate the model about twice per inference step. */
  totalSteps: number;
  timestep: number;
  /** The latents after the step: [B·n,C,h,w] in the UNet's type. */
  latents: Tensor;
}

/** The result of a step callback: nothing, or replacement latents. */
// biome-ignore lint/suspicious/noConfusingVoidType: a callback that returns nothing is one of type void
export type StepResult = void | undefined | { latents?: Tensor | undefined };

/** @typeParam T the kind of result; `EditResult` alone holds pictures. */
export interface EditResult<T extends OutputType = "image"> {
  images: T extends "image" ? RgbImage[] : Tensor;
  /** The seed of the noise, if the run made its own generator. */
  seed?: number | bigint;
}

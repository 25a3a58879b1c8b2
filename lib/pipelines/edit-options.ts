import type { Generator } from "../generator.js";
import type { RgbImage } from "../images.js";
import type { Tensor } from "../tensor.js";
import type { PipelineImage } from "./image-input.js";

export type OutputType = "image" | "tensor" | "latent";

/** @typeParam T the kind of result: `EditOptions` alone is for pictures, `EditOptions<"tensor">` for a tensor. */
export interface EditOptions<T extends OutputType = "image"> {
  /** The instruction, or one for each row of the batch. Either this or `promptEmbeds`. */
  prompt?: string | readonly string[] | undefined;
  /**
   * The picture to edit (path, URL, encoded bytes, sharp instance, RgbImage), several, or a tensor: pixels [B,3,H,W] in 0..1,
   * or image latents [B,C,h,w], which are used as they are (what `vae.encode` gives as the mean, not scaled).
   */
  image: PipelineImage;
  /** What to steer away from; the empty text if left out. Ignored without guidance. */
  negativePrompt?: string | readonly string[] | undefined;
  /** Denoising steps, 1..num_train_timesteps. Default 100. */
  numInferenceSteps?: number | undefined;
  /** How strongly the instruction is followed. Default 7.5. */
  guidanceScale?: number | undefined;
  /** How closely the result keeps to the picture. Default 1.5. Guidance is on if `guidanceScale` > 1 and this is ≥ 1. */
  imageGuidanceScale?: number | undefined;
  /**
   * The part of the steps that are guided, from a fraction of them to another; the others compute one row of three. Faster
   * and not exact (Kynkäänniemi et al. 2024, https://arxiv.org/abs/2404.07724). Default [0, 1]: all.
   */
  guidanceInterval?: readonly [number, number] | undefined;
  /**
   * Computes the deep levels of the UNet in every n-th step only. Faster and not exact (Ma et al. 2023,
   * https://arxiv.org/abs/2312.00858). Default 1: in every step.
   */
  deepCacheInterval?: number | undefined;
  /** Default 1. */
  numImagesPerPrompt?: number | undefined;
  /** η of DDIM, 0..1; other schedulers ignore it. Default 0. */
  eta?: number | undefined;
  /** Source of all noise: one, or one for each picture made. Either this or `seed`. */
  generator?: Generator | readonly Generator[] | undefined;
  /** Seeds a CPU generator, so that a seed means the same picture on every device. Random if left out. */
  seed?: number | bigint | undefined;
  /** Noise to start from instead of a draw: [B·n,C,h,w], unit variance. */
  latents?: Tensor | undefined;
  /** Text embeddings [B,T,D] instead of `prompt`. */
  promptEmbeds?: Tensor | undefined;
  /** Text embeddings [B,T,D] instead of `negativePrompt`. */
  negativePromptEmbeds?: Tensor | undefined;
  /** "image" (default): RgbImage; "tensor": one Tensor [B·n,3,H,W] in 0..1; "latent": one Tensor [B·n,C,h,w]. */
  outputType?: T | undefined;
  /**
   * Lets NaN and infinity pass, in what is given and in what is computed; a picture then is black where they are. Default
   * false: refused with `ERR_INVALID_ARGUMENT` and `ERR_NOT_FINITE`.
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
  /** How many there will be: schedulers of second order evaluate the model about twice per inference step. */
  totalSteps: number;
  timestep: number;
  /** What the step made: [B·n,C,h,w] in the UNet's type. */
  latents: Tensor;
}

/** What a step callback gives back: nothing, or latents to go on with instead of those that the step made. */
// biome-ignore lint/suspicious/noConfusingVoidType: a callback that returns nothing is one of type void
export type StepResult = void | undefined | { latents?: Tensor | undefined };

/** @typeParam T the kind of result; `EditResult` alone holds pictures. */
export interface EditResult<T extends OutputType = "image"> {
  images: T extends "image" ? RgbImage[] : Tensor;
  /** The seed of the noise, if the run made its own generator. */
  seed?: number | bigint;
}

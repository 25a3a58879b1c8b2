import type { PromptWeighting } from "../conditioning/prompt-weightings.js";
import type { Generator } from "../core/generator.js";
import { optionNames } from "../core/known-options.js";
import type { Tensor } from "../core/tensor.js";
import type { RgbImage } from "../images/index.js";
import type { RunLora } from "../lora/run-loras.js";

/** What `run()` gives: images, pixels [B,3,H,W] in 0..1, or latents [B,C,h,w]. */
export type OutputType = "image" | "tensor" | "latent";

/**
 * Options that every pipeline has.
 *
 * @typeParam T the kind of result
 */
export interface RunOptions<T extends OutputType = "image"> {
  /** "image" (default): RgbImage; "tensor": one Tensor [B·n,3,H,W] in 0..1; "latent": one Tensor [B·n,C,h,w]. */
  outputType?: T | undefined;
  /**
   * Allows NaN and infinity in inputs and results; images are black there. Default false: `ERR_INVALID_ARGUMENT` for
   * inputs, `ERR_NOT_FINITE` for results.
   */
  allowNonFinite?: boolean | undefined;
  /**
   * Stops the run within a step; it rejects with `ERR_ABORTED`, whose `cause` is the signal's reason: after
   * `AbortSignal.timeout` its `name` is "TimeoutError".
   */
  signal?: AbortSignal | undefined;
  /**
   * Called and awaited after every step. `progress.latents` belong to the pipeline, which frees them after the next step:
   * clone them to keep them. Returning `{ latents }` replaces them by a tensor of the same shape, type and device, which stays
   * the caller's; other tensors of the progress can be replaced alike, for the steps to come.
   */
  onStep?: ((progress: StepProgress) => StepResult | Promise<StepResult>) | undefined;
  /** Called when a stage of the run begins, after every step, and when decoding is done; not awaited. What it throws ends the run. */
  onProgress?: ((progress: RunProgress) => void) | undefined;
}

/** How far a run is. */
export interface RunProgress {
  /** Prompts and images are encoded, then come the steps, and last the result is decoded, unless latents are asked for. */
  stage: "encode" | "denoise" | "decode";
  /** The part of the stage that is done, 0..1; undefined while it is not known. */
  fraction: number | undefined;
  /** The steps that are done, in stage "denoise". */
  step?: number;
  /** The number of all steps, in stage "denoise"; see {@link StepProgress}. */
  totalSteps?: number;
}

/** The names of {@link RunOptions}. */
export const RUN_OPTIONS = optionNames<RunOptions<OutputType>>()({
  outputType: true,
  allowNonFinite: true,
  signal: true,
  onStep: true,
  onProgress: true,
});

/** Options of pipelines that are guided by text. */
export interface PromptOptions {
  /** The prompt, or one for each row of the batch. Either this or `promptEmbeds`. */
  prompt?: string | readonly string[] | null | undefined;
  /** The negative prompt: what to avoid. Default: the empty prompt. Ignored without guidance. */
  negativePrompt?: string | readonly string[] | null | undefined;
  /** Prompt embeddings [B,T,D] instead of `prompt`. */
  promptEmbeds?: Tensor | undefined;
  /** Prompt embeddings [B,T,D] instead of `negativePrompt`. */
  negativePromptEmbeds?: Tensor | undefined;
  /** How prompts are read: "none" (default), or "compel" for weights in Compel's grammar; see `encodePrompt`. */
  promptWeighting?: PromptWeighting | undefined;
}

/** The names of {@link PromptOptions}. */
export const PROMPT_OPTIONS = optionNames<PromptOptions>()({
  prompt: true,
  negativePrompt: true,
  promptEmbeds: true,
  negativePromptEmbeds: true,
  promptWeighting: true,
});

/** Options of pipelines whose UNets take pooled embeddings beside those of the tokens. */
export interface PooledPromptOptions {
  /** Pooled embeddings [B,E], which go with `promptEmbeds`. */
  pooledPromptEmbeds?: Tensor | undefined;
  /** Pooled embeddings [B,E], which go with `negativePromptEmbeds`. */
  negativePooledPromptEmbeds?: Tensor | undefined;
}

/** The names of {@link PooledPromptOptions}. */
export const POOLED_PROMPT_OPTIONS = optionNames<PooledPromptOptions>()({
  pooledPromptEmbeds: true,
  negativePooledPromptEmbeds: true,
});

/** Options of the noise and of how it is removed. */
export interface SamplingOptions {
  /** Images for each prompt. Default 1. */
  numImagesPerPrompt?: number | undefined;
  /** η of DDIM, 0..1; other schedulers ignore it. Default 0. */
  eta?: number | undefined;
  /** Source of all noise: one generator, or one for each output image. Either this or `seed`. */
  generator?: Generator | readonly Generator[] | undefined;
  /** Seeds a CPU generator, so that a seed means the same image on every device. Random if left out. */
  seed?: number | bigint | undefined;
  /** Initial noise instead of a random draw: [B·n,C,h,w], unit variance. */
  latents?: Tensor | undefined;
  /**
   * The guided part of the steps, as two fractions of their number; unguided steps compute one row instead of all.
   * Faster and not exact (Kynkäänniemi et al. 2024, https://arxiv.org/abs/2404.07724). Default [0, 1]: all.
   */
  guidanceInterval?: readonly [number, number] | undefined;
  /**
   * Computes the deep levels of the UNet only in every n-th step. Faster and not exact (Ma et al. 2023,
   * https://arxiv.org/abs/2312.00858). Default 1: in every step.
   */
  deepCacheInterval?: number | undefined;
  /**
   * LoRAs of this run alone, beside those that are active: adapters of the pipeline that are not. They are computed beside the
   * weights, so runs with different ones overlap, and with step batching share passes. Default none.
   */
  loras?: readonly RunLora[] | undefined;
}

/** The names of {@link SamplingOptions}. */
export const SAMPLING_OPTIONS = optionNames<SamplingOptions>()({
  numImagesPerPrompt: true,
  eta: true,
  generator: true,
  seed: true,
  latents: true,
  guidanceInterval: true,
  deepCacheInterval: true,
  loras: true,
});

/** Options that set the steps one by one; the scheduler must support them. */
export interface ScheduleOptions {
  /** The timesteps to visit, descending, instead of `numInferenceSteps`. */
  timesteps?: readonly number[] | undefined;
  /** The noise levels to visit, descending, instead of `numInferenceSteps`; the final one included. */
  sigmas?: readonly number[] | undefined;
}

/** The names of {@link ScheduleOptions}. */
export const SCHEDULE_OPTIONS = optionNames<ScheduleOptions>()({ timesteps: true, sigmas: true });

/** What `onStep` is called with after a step. */
export interface StepProgress {
  /** Counts from 0. */
  step: number;
  /** Total number of steps: second-order schedulers evaluate the model about twice per inference step. */
  totalSteps: number;
  timestep: number;
  /** The tile that the step belongs to, counted from 0, in a run in tiles. Each tile has all the steps. */
  tile?: number;
  /** The number of tiles, in a run in tiles. */
  tiles?: number;
  /** The latents after the step: [B·n,C,h,w] in the UNet's type. */
  latents: Tensor;
  /**
   * The UNet's text embeddings for all rows of guidance, as in diffusers: those of the negative prompts, then those of the
   * prompts; in InstructPix2Pix those of the prompts, then the negative ones twice. They belong to the pipeline.
   */
  promptEmbeds: Tensor;
  /** InstructPix2Pix only: the image latents of all rows of guidance, the last third zeros. They belong to the pipeline. */
  imageLatents?: Tensor;
  /** SDXL only: the pooled text embeddings [rows · B·n,E] of the same rows as `promptEmbeds`. They belong to the pipeline. */
  addTextEmbeds?: Tensor;
  /** SDXL only: sizes and crops, or aesthetic scores, [rows · B·n,K], likewise. They belong to the pipeline. */
  addTimeIds?: Tensor;
}

/** The result of a step callback: nothing, or replacements. */
// biome-ignore lint/suspicious/noConfusingVoidType: a callback that returns nothing is one of type void
export type StepResult = void | undefined | StepReplacements;

/** What `onStep` may return to replace. */
export interface StepReplacements {
  latents?: Tensor | undefined;
  promptEmbeds?: Tensor | undefined;
  imageLatents?: Tensor | undefined;
  addTextEmbeds?: Tensor | undefined;
  addTimeIds?: Tensor | undefined;
}

/**
 * What `run()` of a pipeline gives.
 *
 * @typeParam T the kind of result; `ImagesResult` alone holds images.
 */
export interface ImagesResult<T extends OutputType = "image"> {
  images: T extends "image" ? RgbImage[] : Tensor;
  /** The seed of the noise, if the run made its own generator. */
  seed?: number | bigint;
  /**
   * For each image, whether the safety checker found in it what it looks for: such images are black. Left out for latents, and
   * by pipelines without a safety checker.
   */
  nsfw?: boolean[];
}

import { describe } from "../../core/arguments.js";
import { InstructPix2PixError } from "../../core/errors.js";
import { optionNames } from "../../core/known-options.js";
import { Tensor } from "../../core/tensor.js";
import { checkCount, refuseArgument } from "../options.js";
import type { OutputType, RunOptions, SamplingOptions, StepProgress } from "../run-options.js";

/** What the step callback of Kandinsky 2.2's decoders sees. */
export interface KandinskyV22StepProgress extends Pick<StepProgress, "step" | "totalSteps" | "timestep" | "latents"> {
  /** The image embeddings for all rows of guidance: those to avoid, then the others. They belong to the pipeline. */
  imageEmbeds: Tensor;
}

/** What the step callback may replace. */
export interface KandinskyV22StepReplacements {
  latents?: Tensor | undefined;
  imageEmbeds?: Tensor | undefined;
}

// biome-ignore lint/suspicious/noConfusingVoidType: a callback that returns nothing is one of type void
type StepResult = void | undefined | KandinskyV22StepReplacements;

/**
 * Options of all of Kandinsky 2.2's decoders.
 *
 * @typeParam T the kind of result
 */
export interface KandinskyV22DecoderOptions<T extends OutputType = "image">
  extends Omit<RunOptions<T>, "onStep">,
    Pick<SamplingOptions, "numImagesPerPrompt" | "generator" | "seed" | "eta"> {
  /** Image embeddings [B,E], or a list of such tensors: what a prior predicts. */
  imageEmbeds: Tensor | readonly Tensor[];
  /** Embeddings of what to avoid, [B,E]; ignored without guidance. */
  negativeImageEmbeds?: Tensor | readonly Tensor[] | undefined;
  /** Pixels; rounded up to what the model can make. Default 512. */
  height?: number | undefined;
  width?: number | undefined;
  /** Denoising steps, 1..num_train_timesteps. Default 100. */
  numInferenceSteps?: number | undefined;
  /** Guidance by the embeddings; on above 1. Default 4. */
  guidanceScale?: number | undefined;
  /** Called and awaited after every step, as the other pipelines' `onStep`. */
  onStep?: ((progress: KandinskyV22StepProgress) => StepResult | Promise<StepResult>) | undefined;
}

/** The names of {@link KandinskyV22DecoderOptions}. */
export const DECODER_OPTIONS = optionNames<KandinskyV22DecoderOptions<OutputType>>()({
  imageEmbeds: true,
  negativeImageEmbeds: true,
  height: true,
  width: true,
  numInferenceSteps: true,
  guidanceScale: true,
  numImagesPerPrompt: true,
  eta: true,
  generator: true,
  seed: true,
  outputType: true,
  allowNonFinite: true,
  signal: true,
  onStep: true,
  onProgress: true,
});

const LARGEST = 2 ** 16;

/** The size in pixels. @throws `ERR_INVALID_ARGUMENT` naming the option */
export function checkDecoderSize({ height = 512, width = 512 }: { height?: number; width?: number }) {
  return { height: checkCount("height", height, LARGEST), width: checkCount("width", width, LARGEST) };
}

/**
 * Image embeddings as one list of tensors with the UNet's width.
 *
 * @throws `ERR_INVALID_ARGUMENT` naming the option
 */
export function checkEmbeds(name: string, given: unknown, width: number): readonly Tensor[] {
  const list: readonly unknown[] = Array.isArray(given) ? given : [given];
  if (list.length === 0) throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", `${name} is an empty list`);
  for (const tensor of list) {
    if (!(tensor instanceof Tensor)) refuseArgument(name, describe(tensor), "a Tensor, or a list of tensors");
    const [rows, features] = tensor.shape;
    if (tensor.shape.length !== 2 || !rows || features !== width)
      refuseArgument(name, `[${tensor.shape}]`, `[B,${width}]`);
  }
  return list as readonly Tensor[];
}

export function rowsOf(tensors: readonly Tensor[]): number {
  return tensors.reduce((sum, { shape }) => sum + shape[0]!, 0);
}

/** The size of latents whose decoded image is at least this large. */
export function latentSize({ height, width }: { height: number; width: number }, factor: number) {
  const edge = (pixels: number) => Math.ceil(pixels / factor ** 2) * factor;
  return { height: edge(height), width: edge(width) };
}

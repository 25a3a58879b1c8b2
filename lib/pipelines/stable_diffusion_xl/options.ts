import { optionNames } from "../../core/known-options.js";
import { checkFinite, refuseArgument } from "../options.js";
import { POOLED_PROMPT_OPTIONS, type PooledPromptOptions, PROMPT_OPTIONS, type PromptOptions } from "../run-options.js";

/** Options of pipelines whose prompts two text encoders take. */
export interface PromptPairOptions extends PromptOptions, PooledPromptOptions {
  /** The second text encoder's prompt, or one for each row. Default `prompt`. Ignored by refiners, which have one encoder. */
  prompt2?: string | readonly string[] | null | undefined;
  /** The second text encoder's negative prompt. Default `negativePrompt`; ignored where that is left out as zeros. */
  negativePrompt2?: string | readonly string[] | null | undefined;
}

/** Height and width, or top and left, in pixels. */
export type Pair = readonly [number, number];

/** What the UNet is told of an image's size (Podell et al. 2023, "SDXL", https://arxiv.org/abs/2307.01952, section 2.2). */
export interface SizeOptions {
  /** Height and width of the image as it was, before it was scaled. Default those of the result. */
  originalSize?: Pair | null | undefined;
  /** Top and left of what was cut out of it. Default [0, 0]. */
  cropsCoordsTopLeft?: Pair | null | undefined;
  /** Height and width that it was scaled to. Default those of the result. Refiners take an aesthetic score instead. */
  targetSize?: Pair | null | undefined;
}

/** The same for the negative prompt. */
export interface NegativeSizeOptions {
  /** Default `originalSize`; text to image uses negative sizes only if both are given. */
  negativeOriginalSize?: Pair | null | undefined;
  /** Default [0, 0]. Image to image uses it for refiners only, and `cropsCoordsTopLeft` otherwise, as diffusers does. */
  negativeCropsCoordsTopLeft?: Pair | null | undefined;
  /** Default `targetSize`. */
  negativeTargetSize?: Pair | null | undefined;
}

/** Options of handing latents from one model to another. */
export interface DenoisingEndOptions {
  /**
   * Stops at this part of the denoising, above 0 and at most 1: with `outputType: "latent"` a refiner goes on with the latents
   * and the same `denoisingStart`. Default 1.
   */
  denoisingEnd?: number | null | undefined;
}

export interface SizeCall {
  originalSize: Pair | undefined;
  cropsCoordsTopLeft: Pair;
  targetSize: Pair | undefined;
  negativeOriginalSize: Pair | undefined;
  negativeCropsCoordsTopLeft: Pair;
  negativeTargetSize: Pair | undefined;
}

/** Validates sizes and crops. @throws `ERR_INVALID_ARGUMENT` naming the option */
export function checkSizes(options: SizeOptions & NegativeSizeOptions): SizeCall {
  const pair = (name: keyof SizeCall): Pair | undefined => {
    const value: unknown = options[name] ?? undefined;
    if (value === undefined) return undefined;
    if (!Array.isArray(value) || value.length !== 2 || !value.every((each) => Number.isFinite(each)))
      refuseArgument(name, JSON.stringify(value), "two numbers");
    return [value[0], value[1]];
  };
  return {
    originalSize: pair("originalSize"),
    cropsCoordsTopLeft: pair("cropsCoordsTopLeft") ?? [0, 0],
    targetSize: pair("targetSize"),
    negativeOriginalSize: pair("negativeOriginalSize"),
    negativeCropsCoordsTopLeft: pair("negativeCropsCoordsTopLeft") ?? [0, 0],
    negativeTargetSize: pair("negativeTargetSize"),
  };
}

/** Validates `denoisingEnd`. @throws `ERR_INVALID_ARGUMENT` */
export function checkDenoisingEnd(value: number | null | undefined): number | undefined {
  const end = value ?? undefined;
  if (end === undefined) return undefined;
  checkFinite("denoisingEnd", end);
  if (end <= 0 || end > 1) refuseArgument("denoisingEnd", end, "above 0 and at most 1");
  return end;
}

export const PROMPT_PAIR_OPTIONS = optionNames<PromptPairOptions>()({
  ...PROMPT_OPTIONS,
  prompt2: true,
  negativePrompt2: true,
  ...POOLED_PROMPT_OPTIONS,
});
export const SIZE_OPTIONS = optionNames<SizeOptions>()({
  originalSize: true,
  cropsCoordsTopLeft: true,
  targetSize: true,
});
export const NEGATIVE_SIZE_OPTIONS = optionNames<NegativeSizeOptions>()({
  negativeOriginalSize: true,
  negativeCropsCoordsTopLeft: true,
  negativeTargetSize: true,
});
export const DENOISING_END_OPTIONS = optionNames<DenoisingEndOptions>()({ denoisingEnd: true });

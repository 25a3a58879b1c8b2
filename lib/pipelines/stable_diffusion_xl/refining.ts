import { InstructPix2PixError } from "../../core/errors.js";
import { optionNames } from "../../core/known-options.js";
import type { Scheduler } from "../../schedulers/scheduler.js";
import type { ScheduleCall } from "../call.js";
import { checkFinite, refuseArgument } from "../options.js";
import { setPartialSchedule, setScheduleFrom, stepsUntil } from "../schedule.js";
import type { TimeIds } from "./base.js";
import {
  checkDenoisingEnd,
  checkSizes,
  DENOISING_END_OPTIONS,
  type DenoisingEndOptions,
  NEGATIVE_SIZE_OPTIONS,
  type NegativeSizeOptions,
  SIZE_OPTIONS,
  type SizeCall,
  type SizeOptions,
} from "./options.js";

// What pipelines share that start from an image, with a base model or with a refiner.

/** Options of pipelines that a refiner's UNet is for. */
export interface RefiningOptions extends SizeOptions, NegativeSizeOptions, DenoisingEndOptions {
  /**
   * Goes on from this part of the denoising, 0..1 both excluded, with latents that another model left there: no noise is
   * added, and `strength` does not count. Default: an image is noised.
   */
  denoisingStart?: number | null | undefined;
  /** What a refiner is told of the result's quality, about 1..10. Default 6. */
  aestheticScore?: number | undefined;
  /** The same for the negative prompt. Default 2.5. */
  negativeAestheticScore?: number | undefined;
}

/** The names of {@link RefiningOptions}. */
export const REFINING_OPTIONS = optionNames<RefiningOptions>()({
  ...SIZE_OPTIONS,
  ...NEGATIVE_SIZE_OPTIONS,
  ...DENOISING_END_OPTIONS,
  denoisingStart: true,
  aestheticScore: true,
  negativeAestheticScore: true,
});

export interface RefiningCall {
  denoisingStart: number | undefined;
  denoisingEnd: number | undefined;
  sizes: SizeCall;
  /** Undefined for models that take the target size instead. */
  scores: { positive: number; negative: number } | undefined;
}

/** Validates them. @throws `ERR_INVALID_ARGUMENT` naming the option */
export function checkRefining(options: RefiningOptions, requiresAestheticsScore: boolean): RefiningCall {
  const denoisingStart = options.denoisingStart ?? undefined;
  const denoisingEnd = checkDenoisingEnd(options.denoisingEnd);
  if (denoisingStart !== undefined) {
    checkFinite("denoisingStart", denoisingStart);
    if (denoisingStart <= 0 || denoisingStart >= 1)
      refuseArgument("denoisingStart", denoisingStart, "above 0 and below 1");
    if (denoisingEnd !== undefined && denoisingStart >= denoisingEnd)
      throw new InstructPix2PixError(
        "ERR_INVALID_ARGUMENT",
        `denoisingStart ${denoisingStart} must be below denoisingEnd ${denoisingEnd}`,
      );
  }
  const positive = checkFinite("aestheticScore", options.aestheticScore ?? 6);
  const negative = checkFinite("negativeAestheticScore", options.negativeAestheticScore ?? 2.5);
  const scores = requiresAestheticsScore ? { positive, negative } : undefined;
  return { denoisingStart, denoisingEnd, sizes: checkSizes(options), scores };
}

/**
 * Sets the scheduler's steps.
 *
 * @param options.whole as for `setPartialSchedule`
 * @returns the timesteps to visit, and all that are left from the first of them on, to which images are noised
 */
export function refiningSchedule(
  scheduler: Scheduler,
  call: ScheduleCall & RefiningCall & { strength: number },
  options: { whole?: boolean } = {},
): { timesteps: readonly number[]; from: readonly number[] } {
  const { denoisingStart, denoisingEnd, strength } = call;
  const from =
    denoisingStart === undefined
      ? setPartialSchedule(scheduler, call, strength, options)
      : setScheduleFrom(scheduler, call, denoisingStart);
  return { timesteps: stepsUntil(scheduler, from, denoisingEnd), from };
}

/**
 * What the UNet is told of sizes, as diffusers has it: without scores negative rows take the crop of the prompts'.
 *
 * @param own height and width of the result
 */
export function refiningTimeIds({ sizes, scores }: RefiningCall, own: readonly [number, number]): TimeIds {
  const { originalSize: original = own, targetSize: target = own, cropsCoordsTopLeft: crop } = sizes;
  const { negativeOriginalSize = original, negativeTargetSize = target } = sizes;
  if (!scores)
    return {
      positive: [...original, ...crop, ...target],
      negative: [...negativeOriginalSize, ...crop, ...negativeTargetSize],
    };
  return {
    positive: [...original, ...crop, scores.positive],
    negative: [...negativeOriginalSize, ...sizes.negativeCropsCoordsTopLeft, scores.negative],
  };
}

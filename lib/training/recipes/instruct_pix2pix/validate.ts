import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { tokenizePrompts } from "../../../conditioning/prompt.js";
import { InstructPix2PixError, isInstructPix2PixError } from "../../../core/errors.js";
import { Generator } from "../../../core/generator.js";
import { ioError } from "../../../files/io-error.js";
import { loadImage, type RgbImage } from "../../../images/index.js";
import { sizeForFactor } from "../../../images/resize.js";
import { InstructPix2PixPipeline } from "../../../pipelines/stable_diffusion/instruct_pix2pix.js";
import type { Scheduler } from "../../../schedulers/scheduler.js";
import type { TrainOptions } from "../../options.js";
import type { BaseModel } from "./base-model.js";

/** The reference's fixed settings. */
const STEPS = 20;
const GUIDANCE_SCALE = 7;
const IMAGE_GUIDANCE_SCALE = 1.5;

/** In the output folder; holds a folder for each validated step. */
export const VALIDATION_FOLDER = "validation";

/** The validation input; the picture is read before training and kept in memory. */
export interface ValidationInput {
  image: RgbImage;
  prompt: string;
}

export interface Validation extends ValidationInput {
  count: number;
  scheduler: Scheduler;
  seed: bigint;
  /** Source of all noise instead of one generator for each picture; the reference uses the dropout generator. */
  generator?: Generator;
}

/**
 * Reads the validation picture; undefined without validation.
 *
 * @throws what `loadImage` throws, with the option named
 */
export async function loadValidation(
  { valImageUrl, validationPrompt: prompt }: Pick<TrainOptions, "valImageUrl" | "validationPrompt">,
  signal?: AbortSignal,
): Promise<ValidationInput | undefined> {
  if (valImageUrl === undefined || prompt === undefined) return undefined;
  try {
    return { image: await loadImage(valImageUrl, { signal }), prompt };
  } catch (error) {
    throw naming("val_image_url", error);
  }
}

/**
 * Checks that the base model accepts the picture and the prompt.
 *
 * @throws `ERR_IMAGE` for a picture smaller than the autoencoder's unit, `ERR_TOKENIZER`
 */
export function checkValidation({ image, prompt }: ValidationInput, base: BaseModel): void {
  try {
    sizeForFactor(image, base.vae.scaleFactor);
  } catch (error) {
    throw naming("val_image_url", error);
  }
  try {
    tokenizePrompts([prompt], base).dispose();
  } catch (error) {
    throw naming("validation_prompt", error);
  }
}

function naming(option: string, error: unknown): unknown {
  if (!isInstructPix2PixError(error) || error.code === "ERR_ABORTED") return error;
  return new InstructPix2PixError(error.code, `${option}: ${error.message}`, { cause: error });
}

/**
 * Edits the validation picture a few times and writes the results to `validation/step-<step>/`, always from the same
 * seeds, so that pictures of different steps can be compared.
 */
export async function validate(
  base: BaseModel,
  validation: Validation,
  place: { outputDir: string; step: number },
  signal?: AbortSignal,
): Promise<{ images: RgbImage[]; files: string[] }> {
  const pipeline = new InstructPix2PixPipeline({ ...base, scheduler: validation.scheduler });
  const folder = join(place.outputDir, VALIDATION_FOLDER, `step-${String(place.step).padStart(6, "0")}`);
  try {
    await mkdir(folder, { recursive: true });
  } catch (error) {
    throw ioError("write validation pictures to", folder, error);
  }
  const images: RgbImage[] = [];
  const files: string[] = [];
  for (let i = 0; i < validation.count; i++) {
    const { images: made } = await pipeline.run({
      prompt: validation.prompt,
      image: validation.image,
      numInferenceSteps: STEPS,
      guidanceScale: GUIDANCE_SCALE,
      imageGuidanceScale: IMAGE_GUIDANCE_SCALE,
      generator: validation.generator ?? new Generator("cpu", (validation.seed + BigInt(i)) % 2n ** 64n),
      signal,
    });
    const file = join(folder, `${i}.png`);
    await made[0]!.save(file);
    images.push(made[0]!);
    files.push(file);
  }
  return { images, files };
}

import { mkdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { InstructPix2PixError, isInstructPix2PixError } from "../../../core/errors.js";
import { Generator } from "../../../core/generator.js";
import { ioError } from "../../../files/io-error.js";
import { loadImage, type RgbImage } from "../../../images/index.js";
import { sizeForFactor } from "../../../images/resize.js";
import type { TrainOptions } from "../../options.js";
import type { EditModels } from "./models.js";

/** The reference's fixed settings. */
const STEPS = 20;
const GUIDANCE_SCALE = 7;
const IMAGE_GUIDANCE_SCALE = 1.5;

/** The folder in the output folder that holds a folder for each validated step. */
export const VALIDATION_FOLDER = "validation";

/** An image that was made for validation after a step. */
export function validationFile(outputDir: string, step: number, index: number): string {
  return join(outputDir, VALIDATION_FOLDER, `step-${String(step).padStart(6, "0")}`, `${index}.png`);
}

/** The validation input; the image is read before training and kept in memory. */
export interface ValidationInput {
  /** The option that names the image. */
  option: keyof TrainOptions;
  image: RgbImage;
  prompt: string;
}

export interface Validation extends ValidationInput {
  count: number;
  seed: bigint;
  /** Source of all noise instead of one generator for each image; the reference uses the dropout generator. */
  generator?: Generator;
}

/**
 * Reads the validation image; undefined without validation.
 *
 * @param option the one that names it
 * @throws what `loadImage` throws, with the option named
 */
export async function loadValidation(
  option: keyof TrainOptions,
  { validationPrompt: prompt, ...options }: TrainOptions,
  signal?: AbortSignal,
): Promise<ValidationInput | undefined> {
  const image = options[option as keyof typeof options];
  if (typeof image !== "string" || prompt === undefined) return undefined;
  try {
    return { option, image: await loadImage(image, { signal }), prompt };
  } catch (error) {
    throw naming(option, error);
  }
}

/**
 * Checks that the base model accepts the image and the prompt.
 *
 * @throws `ERR_IMAGE` for an image smaller than the autoencoder's unit, `ERR_TOKENIZER`
 */
export async function checkValidation({ option, image, prompt }: ValidationInput, models: EditModels): Promise<void> {
  try {
    sizeForFactor(models.editSize() ?? image, models.autoencoder.scaleFactor);
  } catch (error) {
    throw naming(option, error);
  }
  try {
    await models.checkPrompt(prompt);
  } catch (error) {
    throw naming("validationPrompt", error);
  }
}

function naming(option: string, error: unknown): unknown {
  if (!isInstructPix2PixError(error) || error.code === "ERR_ABORTED") return error;
  return new InstructPix2PixError(error.code, `${option}: ${error.message}`, { cause: error });
}

/**
 * Edits the validation image a few times and writes the results to `validation/step-<step>/`, always from the same
 * seeds, so that images of different steps can be compared.
 */
export async function validate(
  models: EditModels,
  validation: Validation,
  place: { outputDir: string; step: number },
  signal?: AbortSignal,
): Promise<{ images: RgbImage[]; files: string[] }> {
  const edit = await models.editor();
  const folder = dirname(validationFile(place.outputDir, place.step, 0));
  try {
    await mkdir(folder, { recursive: true });
  } catch (error) {
    throw ioError("write validation images to", folder, error);
  }
  const images: RgbImage[] = [];
  const files: string[] = [];
  for (let i = 0; i < validation.count; i++) {
    const { images: made } = await edit({
      prompt: validation.prompt,
      image: validation.image,
      numInferenceSteps: STEPS,
      guidanceScale: GUIDANCE_SCALE,
      imageGuidanceScale: IMAGE_GUIDANCE_SCALE,
      generator: validation.generator ?? new Generator("cpu", (validation.seed + BigInt(i)) % 2n ** 64n),
      signal,
    });
    const file = validationFile(place.outputDir, place.step, i);
    await made[0]!.save(file);
    images.push(made[0]!);
    files.push(file);
  }
  return { images, files };
}

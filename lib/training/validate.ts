import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { Generator } from "../generator.js";
import { loadImage, type RgbImage } from "../images.js";
import { InstructPix2PixPipeline } from "../pipelines/instruct_pix2pix.js";
import type { Scheduler } from "../schedulers/scheduler.js";
import type { BaseModel } from "./base_model.js";

/** The reference's settings, which no option changes. */
const STEPS = 20;
const GUIDANCE_SCALE = 7;
const IMAGE_GUIDANCE_SCALE = 1.5;

export interface Validation {
  /** Path or URL. */
  image: string;
  prompt: string;
  count: number;
  scheduler: Scheduler;
  seed: bigint;
  /** Source of all noise instead of one generator for each picture; the reference draws from that of dropout. */
  generator?: Generator;
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
  const image = await loadImage(validation.image, { signal });
  const folder = join(place.outputDir, "validation", `step-${String(place.step).padStart(6, "0")}`);
  await mkdir(folder, { recursive: true });
  const images: RgbImage[] = [];
  const files: string[] = [];
  for (let i = 0; i < validation.count; i++) {
    const { images: made } = await pipeline.run({
      prompt: validation.prompt,
      image,
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

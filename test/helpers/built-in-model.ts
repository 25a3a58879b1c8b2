import { statSync } from "node:fs";
import { join } from "node:path";
import { expect } from "vitest";
import { listFiles } from "../../lib/files/list-files.js";
import { loadSafetensors } from "../../lib/files/safetensors.js";
import type { InstructPix2PixPipeline } from "../../lib/pipelines/stable_diffusion/instruct_pix2pix.js";
import { fixture, readJson } from "./fixtures.js";

/** An edit that diffusers has made with a built-in model (scripts/record-built-in.py). */
interface Case {
  prompt: string;
  seed: number;
  num_inference_steps: number;
  guidance_scale: number;
  image_guidance_scale: number;
}

/** The recorded edit of a folder of fixtures, in options of a pipeline's `run()`. */
export function recordedEdit(folder: string) {
  const recorded = readJson<Case>(fixture(folder, "case.json"));
  return {
    picture: fixture(folder, "picture.png"),
    prompt: recorded.prompt,
    seed: recorded.seed,
    settings: {
      numInferenceSteps: recorded.num_inference_steps,
      guidanceScale: recorded.guidance_scale,
      imageGuidanceScale: recorded.image_guidance_scale,
    },
  };
}

/** Expects the image that diffusers has made, within 1e-4. */
export async function expectRecordedImage(pipeline: InstructPix2PixPipeline, folder: string): Promise<void> {
  const { picture, prompt, seed, settings } = recordedEdit(folder);
  const { images } = await pipeline.run({ prompt, seed, image: picture, ...settings, outputType: "tensor" });
  const [ours, its] = await Promise.all([
    images.toArray(),
    (await loadSafetensors(fixture(folder, "expected.safetensors"))).images!.toArray(),
  ]);
  expect(ours.length).toBe(its.length);
  let largest = 0;
  for (const [i, value] of ours.entries()) largest = Math.max(largest, Math.abs(Number(value) - Number(its[i])));
  expect(largest).toBeLessThan(1e-4);
}

/** Expects a pipeline folder whose files have fewer bytes together. */
export async function expectSmaller(model: string, bytes: number): Promise<void> {
  const files = await listFiles(model);
  expect(files).toContain("model_index.json");
  expect(files.reduce((sum, file) => sum + statSync(join(model, file)).size, 0)).toBeLessThan(bytes);
}

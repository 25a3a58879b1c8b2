import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/**
 * Writes the image that diffusers edits in scripts/record-built-in.py, and the settings of the edit.
 *
 * @param {string} name of the folder of fixtures
 * @param {import("../../dist/index.js").RgbImage} picture
 * @param {string} prompt
 * @param {object} editing the settings, in the options of a pipeline's `run()`
 */
export async function writeEditToRecord(name, picture, prompt, editing) {
  const folder = fileURLToPath(new URL(`../../test/fixtures/${name}`, import.meta.url));
  mkdirSync(folder, { recursive: true });
  await picture.save(join(folder, "picture.png"));
  const { numInferenceSteps: steps, guidanceScale: text, imageGuidanceScale: image } = editing;
  const numbers = { seed: 7, num_inference_steps: steps, guidance_scale: text, image_guidance_scale: image };
  writeFileSync(join(folder, "case.json"), `${JSON.stringify({ prompt, ...numbers }, null, 2)}\n`);
}

// Draws the image that diffusers edits in scripts/record-built-in.py, and writes the settings of the edit.

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { drawScene, worldExample } from "../../dist/world/index.js";
import { EDITING } from "./settings.mjs";

const folder = fileURLToPath(new URL("../../test/fixtures/built-in", import.meta.url));
const { scene, edit } = worldExample(1000, 6);
mkdirSync(folder, { recursive: true });
await (await drawScene(scene)).save(join(folder, "picture.png"));
const { numInferenceSteps: steps, guidanceScale: text, imageGuidanceScale: image } = EDITING;
const numbers = { seed: 7, num_inference_steps: steps, guidance_scale: text, image_guidance_scale: image };
writeFileSync(join(folder, "case.json"), `${JSON.stringify({ prompt: edit.instruction, ...numbers }, null, 2)}\n`);

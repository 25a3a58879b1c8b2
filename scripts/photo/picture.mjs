// Makes the image that diffusers edits in scripts/record-built-in.py, and writes the settings of the edit.

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { builtInPhotoModel, loadImage } from "../../dist/index.js";
import { EDITING } from "./settings.mjs";

const folder = fileURLToPath(new URL("../../test/fixtures/built-in-photo", import.meta.url));
mkdirSync(folder, { recursive: true });
const photo = await loadImage(join(builtInPhotoModel, "examples", "cat.jpg"));
await (await photo.resize(96, 64, "lanczos")).save(join(folder, "picture.png"));
const { numInferenceSteps: steps, guidanceScale: text, imageGuidanceScale: image } = EDITING;
const numbers = { seed: 7, num_inference_steps: steps, guidance_scale: text, image_guidance_scale: image };
writeFileSync(join(folder, "case.json"), `${JSON.stringify({ prompt: "make it night", ...numbers }, null, 2)}\n`);

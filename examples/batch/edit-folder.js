// Edits all images of a folder by one instruction:
//
//   node edit-folder.js photos "make it winter" winter
//
// Results that exist already are kept, so that the program can be stopped and started again. An image that cannot be read is
// named and left out; the exit status is then 1. MODEL names the model, as in examples/script.

import { existsSync } from "node:fs";
import { mkdir, readdir } from "node:fs/promises";
import { join, parse } from "node:path";
import { builtInModel, InstructPix2PixPipeline, isInstructPix2PixError, loadImage } from "instruct-pix2pix";

const [input, prompt, output] = process.argv.slice(2);
if (!input || !prompt || !output) {
  console.error('usage: node edit-folder.js INPUT_FOLDER "INSTRUCTION" OUTPUT_FOLDER');
  process.exit(2);
}

/** Ctrl-C stops within a step. */
const stop = new AbortController();
process.once("SIGINT", () => stop.abort());

const names = (await readdir(input)).filter((name) => /\.(?:png|jpe?g|webp|avif|tiff?|gif)$/i.test(name)).sort();
await mkdir(output, { recursive: true });
const pipe = await InstructPix2PixPipeline.fromPretrained(process.env.MODEL ?? builtInModel);

for (const [i, name] of names.entries()) {
  const target = join(output, `${parse(name).name}.png`);
  if (existsSync(target)) continue;
  try {
    const image = await loadImage(join(input, name));
    // The same seed for every image, so that a single one can be made again.
    const { images } = await pipe.run({ image, prompt, numInferenceSteps: 20, seed: 0, signal: stop.signal });
    await images[0]?.save(target);
    console.log(`${i + 1} of ${names.length}: ${target}`);
  } catch (error) {
    if (!isInstructPix2PixError(error, "ERR_IMAGE")) throw error;
    console.error(`${name}: ${error.message}`);
    process.exitCode = 1;
  }
}
pipe.dispose();

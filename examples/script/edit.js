// Edits one image:
//
//   node edit.js photo.jpg "make it winter" winter.png
//
// MODEL names the model: a folder, or the id of a repository on the Hugging Face hub. Without it, the small built-in model is
// used, which knows 64×64 images of simple shapes only.

import { builtInModel, InstructPix2PixPipeline } from "instruct-pix2pix";

const [input, prompt, output] = process.argv.slice(2);
if (!input || !prompt || !output) {
  console.error('usage: node edit.js INPUT "INSTRUCTION" OUTPUT');
  process.exit(2);
}

const pipe = await InstructPix2PixPipeline.fromPretrained(process.env.MODEL ?? builtInModel);
const { images, seed } = await pipe.run({
  image: input,
  prompt,
  numInferenceSteps: 20,
  onStep: ({ step, totalSteps }) => console.error(`step ${step + 1} of ${totalSteps}`),
});
await images[0]?.save(output);
console.log(`${output}, seed ${seed}`);
pipe.dispose();

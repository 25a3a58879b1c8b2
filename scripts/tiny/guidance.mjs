// Finds the best guidance scales: scores a model for every pair of a text scale and an image scale.
//
//   npm run tiny:guidance -- --model FOLDER [--guidance_scales 1.5,2,3,4,6,8] [--image_guidance_scales 1,1.25,1.5,2,2.5]
//                            [--count 40] [--steps N] [--scheduler CLASS] [--dtype float32] [--device auto] [--batch 8]
//                            [--output docs/tiny-guidance]
//
// Writes OUTPUT.json with all scores and OUTPUT.png with a heat map of each, and prints the best pair. The chosen pair
// is set in settings.mjs; npm run tiny:eval then measures it on examples that were not used for the choice.

import { editorOf, percent, scoreEdits, summarise, worldExamples } from "../../dist/evaluation/world.js";
import { writeFileAtomically } from "../../dist/images/write-file.js";
import { InstructPix2PixError } from "../../dist/index.js";
import { loadModel, refuseMissingFolder, runProgram, scoringOptions } from "../model/command.mjs";
import { progressBar } from "../model/progress.mjs";
import { drawGuidance } from "./guidance-plot.mjs";
import { EDITING, SEEDS } from "./settings.mjs";

const SCORING = scoringOptions(EDITING);
const OPTIONS = {
  ...SCORING,
  count: { ...SCORING.count, default: 40 },
  guidance_scales: { type: "string", default: "1.5,2,3,4,6,8", help: "text guidance scales, above 1" },
  image_guidance_scales: { type: "string", default: "1,1.25,1.5,2,2.5", help: "image guidance scales, at least 1" },
  output: { type: "string", default: "docs/tiny-guidance", help: "path of the output files, without .json and .png" },
};

/** `1,1.5` in order; without guidance a pipeline ignores both scales, so such a pair is meaningless. */
function parseScales(flag, text, allowed, range) {
  const scales = text.split(",").map((part) => (part.trim() === "" ? Number.NaN : Number(part)));
  if (!scales.every((scale) => Number.isFinite(scale) && allowed(scale)))
    throw new InstructPix2PixError("ERR_USAGE", `${flag} takes numbers ${range} between commas, not "${text}"`);
  return [...new Set(scales)].sort((a, b) => a - b);
}

/** The scores with the most successes; ties go to the least error outside. */
function better(one, other) {
  if (one.success !== other.success) return one.success > other.success;
  return (one.outside ?? 0) < (other.outside ?? 0);
}

await runProgram("tiny:guidance", OPTIONS, async (values) => {
  const { count, steps, batch, output } = values;
  const scales = {
    text: parseScales("--guidance_scales", values.guidanceScales, (scale) => scale > 1, "above 1"),
    image: parseScales("--image_guidance_scales", values.imageGuidanceScales, (scale) => scale >= 1, "of at least 1"),
  };
  refuseMissingFolder("--output", output);
  const started = performance.now();
  const pipeline = await loadModel(values);
  const examples = [];
  for await (const example of worldExamples(SEEDS.guidance, count)) examples.push(example);
  const pairs = scales.image.flatMap((imageGuidanceScale) =>
    scales.text.map((guidanceScale) => ({ guidanceScale, imageGuidanceScale })),
  );
  const bar = progressBar(pairs.length * count);
  const grid = [];
  try {
    for (const pair of pairs) {
      const note = `guidance ${pair.guidanceScale}, image guidance ${pair.imageGuidanceScale}`;
      const onProgress = (some) => bar.update(grid.length * count + some.length, { note });
      const edit = editorOf(pipeline, { numInferenceSteps: steps, ...pair });
      grid.push({ ...pair, ...summarise(await scoreEdits(examples, edit, { batch, onProgress })) });
    }
  } finally {
    bar.stop();
  }
  const best = grid.reduce((some, other) => (better(other, some) ? other : some));
  const scheduler = pipeline.scheduler.className;
  pipeline.dispose();

  const seconds = Math.round(performance.now() - started) / 1000;
  const settings = { model: values.model, seed: SEEDS.guidance, count, steps, scheduler, dtype: values.dtype, seconds };
  await writeFileAtomically(`${output}.json`, Buffer.from(`${JSON.stringify({ ...settings, grid }, null, 1)}\n`));
  await writeFileAtomically(`${output}.png`, await drawGuidance(grid, best));
  const { guidanceScale, imageGuidanceScale, success } = best;
  const where = `guidance scale ${guidanceScale}, image guidance scale ${imageGuidanceScale}`;
  console.log(`best: ${percent(success)} with ${where}; all results are in ${output}.json and ${output}.png`);
});

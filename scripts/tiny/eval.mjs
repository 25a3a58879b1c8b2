// Scores a model on edits of the world that it has never seen:
//
//   npm run tiny:eval -- --model FOLDER [--seed 100] [--count 200] [--steps N] [--guidance_scale G]
//                        [--image_guidance_scale I] [--scheduler CLASS] [--dtype float32] [--quantization none] [--device auto]
//                        [--batch 8] [--guidance_start 0] [--guidance_end 1] [--deep_cache_interval 1]
//                        [--json] [--sheet FILE] [--sheet_count 24]
//
// An edit succeeds if the result is nearer to its true target than to the original and to 15 other edits of the scene
// (lib/world/score.ts). Prints the share of successes and the error outside the edited area, for each family and
// for all; with --json one object instead. --sheet draws the first examples beside their targets, as a PNG.

import { editOptions } from "../../dist/cli/edit/options.js";
import { editorOf, percent, scoreEdits, summarise, worldExamples, worldTable } from "../../dist/evaluation/world.js";
import { writeFileAtomically } from "../../dist/images/write-file.js";
import { loadModel, refuseMissingFolder, refuseUsedSeed, runProgram, SCORING_OPTIONS } from "./command.mjs";
import { progressBar } from "./progress.mjs";
import { EDITING } from "./settings.mjs";
import { drawSheet } from "./sheet.mjs";

const OPTIONS = {
  ...SCORING_OPTIONS,
  seed: { type: "integer", min: 0, max: Number.MAX_SAFE_INTEGER, default: 100, help: "seed of the scenes and edits" },
  guidance_scale: { type: "number", default: EDITING.guidanceScale, help: "how strongly instructions are followed" },
  image_guidance_scale: {
    type: "number",
    default: EDITING.imageGuidanceScale,
    help: "how closely results follow the originals",
  },
  guidance_start: editOptions.guidance_start,
  guidance_end: editOptions.guidance_end,
  deep_cache_interval: editOptions.deep_cache_interval,
  json: { type: "boolean", help: "print one JSON object and nothing else" },
  sheet: { type: "string", value: "FILE", help: "draw examples as a PNG" },
  sheet_count: { type: "integer", min: 1, max: 200, default: 24, help: "how many of them" },
};

await runProgram("tiny:eval", OPTIONS, async (values) => {
  const { seed, count, steps, guidanceScale, imageGuidanceScale, batch, sheet, sheetCount } = values;
  const { guidanceStart, guidanceEnd, deepCacheInterval } = values;
  refuseUsedSeed(seed);
  if (sheet !== undefined) refuseMissingFolder("--sheet", sheet);
  const started = performance.now();
  const pipeline = await loadModel(values);
  const bar = progressBar(count);
  const results = await scoreEdits(
    worldExamples(seed, count),
    editorOf(pipeline, {
      ...{ numInferenceSteps: steps, guidanceScale, imageGuidanceScale },
      ...{ guidanceInterval: [guidanceStart, guidanceEnd], deepCacheInterval },
    }),
    { batch, onProgress: (some) => bar.update(some.length, { note: percent(summarise(some).success) }) },
  ).finally(() => bar.stop());
  const scheduler = pipeline.scheduler.className;
  pipeline.dispose();

  const summary = summarise(results);
  const seconds = Math.round(performance.now() - started) / 1000;
  if (values.json) {
    const settings = { seed, steps, guidanceScale, imageGuidanceScale, scheduler, dtype: values.dtype };
    console.log(JSON.stringify({ ...summary, ...settings, model: values.model, seconds }));
  } else {
    const guidance = `guidance scale ${guidanceScale}, image guidance scale ${imageGuidanceScale}`;
    console.log(`${values.model}: ${scheduler}, ${steps} steps, ${guidance}, seed ${seed}, ${seconds.toFixed(1)} s\n`);
    console.log(worldTable(summary));
  }
  if (sheet !== undefined) await writeFileAtomically(sheet, await drawSheet(results.slice(0, sheetCount), summary));
});

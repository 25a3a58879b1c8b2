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
import {
  loadModel,
  refuseMissingFolder,
  refuseUsedSeed,
  runProgram,
  scoringOptions,
  singleScoringOptions,
} from "../model/command.mjs";
import { progressBar } from "../model/progress.mjs";
import { drawSheet } from "../model/sheet.mjs";
import { EDITING, SEEDS } from "./settings.mjs";

const OPTIONS = {
  ...scoringOptions(EDITING),
  ...singleScoringOptions(EDITING),
  guidance_start: editOptions.guidance_start,
  guidance_end: editOptions.guidance_end,
  deep_cache_interval: editOptions.deep_cache_interval,
};

await runProgram("tiny:eval", OPTIONS, async (values) => {
  const { seed, count, steps, guidanceScale, imageGuidanceScale, batch, sheet, sheetCount } = values;
  const { guidanceStart, guidanceEnd, deepCacheInterval } = values;
  refuseUsedSeed(seed, SEEDS);
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

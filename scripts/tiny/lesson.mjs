// Teaches the built-in model the demo's lesson, old photographs, with any options of `ip2p train`, and scores it before and after on
// edits that it has never seen:
//
//   npm run tiny:lesson -- --output_dir FOLDER [--lora --rank 8 --learning_rate 5e-3] [any other option of ip2p train]
//
// Prints one JSON object: the shares of the lesson's and of earlier known edits that succeed, and the seconds that training took.
// With --post_hoc_ema the average of the weights is scored.

import { join } from "node:path";
import { editorOf, scoreEdits, summarise, worldExamples } from "../../dist/evaluation/world.js";
import { builtInModel, InstructPix2PixPipeline, makeEma, train } from "../../dist/index.js";
import { parseArguments } from "../../dist/options/parse.js";
import { trainOptions } from "../../dist/training/options.js";
import { lessonExample } from "../../dist/world/index.js";
import { ASKED, LESSON_OPTIONS, writeLesson } from "../demo/lesson.mjs";
import { EDITING } from "./settings.mjs";

/** Seed of edits that the model knew before, none of which it was trained on. */
const KNOWN = 20;
const [QUESTIONS, EDITS] = [100, 100];
/** Relative width of the average. */
const WIDTH = 0.1;

async function score(model, examples) {
  const pipeline = await InstructPix2PixPipeline.fromPretrained(model, { device: "auto" });
  const results = await scoreEdits(examples, editorOf(pipeline, EDITING), { batch: 8 });
  pipeline.dispose();
  return summarise(results).success;
}

async function averaged(model) {
  const output = `${model}-averaged`;
  await makeEma({ model, output, width: WIDTH });
  return output;
}

const argv = process.argv.slice(2);
const perKind = argv.some((flag) => /^--(text|image|both)_dropout_prob/.test(flag));
const flags = Object.entries(LESSON_OPTIONS)
  // The two exclude one another.
  .filter(([name]) => !(perKind && name === "conditioningDropoutProb"))
  .map(([name, value]) => `--${name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)}=${value}`);
const given = parseArguments(trainOptions, [
  `--pretrained_model_name_or_path=${builtInModel}`,
  "--train_data_dir=lesson",
  ...flags,
  ...argv,
]);
const dataset = join(given.outputDir, "lesson");
const options = { ...given, trainDataDir: dataset };
await writeLesson(dataset);
const started = performance.now();
await train(options);
const seconds = Math.round(performance.now() - started) / 1000;
const model = options.postHocEma ? await averaged(options.outputDir) : options.outputDir;
const learned = await score(model, worldExamples(ASKED, QUESTIONS, lessonExample));
const known = await score(model, worldExamples(KNOWN, EDITS));
console.log(JSON.stringify({ options: argv.join(" "), learned, known, seconds }));

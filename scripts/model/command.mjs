import { statSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { editOptions } from "../../dist/cli/edit/options.js";
import { describeFailure, statusOf } from "../../dist/cli/failure.js";
import { showWarnings } from "../../dist/cli/warnings.js";
import { InstructPix2PixError, InstructPix2PixPipeline } from "../../dist/index.js";
import { parseArguments } from "../../dist/options/parse.js";
import { schedulerFromClassName } from "../../dist/schedulers/registry.js";

const { dtype, quantization, device, scheduler } = editOptions;

/** Options of every program that scores a model that edits best with these options of `run()`. */
export const scoringOptions = ({ numInferenceSteps }) => ({
  model: { type: "string", required: true, help: "the folder of the pipeline" },
  count: { type: "integer", min: 1, max: 1_000_000, default: 200, help: "examples to edit" },
  steps: { type: "integer", min: 1, default: numInferenceSteps, help: "denoising steps" },
  batch: { type: "integer", min: 1, max: 1024, default: 8, help: "examples to edit at the same time" },
  ...{ scheduler, dtype, quantization, device },
});

/** Further options of a program that scores a model with one setting. */
export const singleScoringOptions = ({ guidanceScale, imageGuidanceScale }) => ({
  seed: { type: "integer", min: 0, max: Number.MAX_SAFE_INTEGER, default: 100, help: "seed of the examples" },
  guidance_scale: { type: "number", default: guidanceScale, help: "how strongly instructions are followed" },
  image_guidance_scale: {
    type: "number",
    default: imageGuidanceScale,
    help: "how closely results follow the originals",
  },
  json: { type: "boolean", help: "print one JSON object and nothing else" },
  sheet: { type: "string", value: "FILE", help: "draw examples as a PNG" },
  sheet_count: { type: "integer", min: 1, max: 200, default: 24, help: "how many of them" },
});

/** Runs a program: bad options end it with status 2, other failures with 1, each with one line on standard error. */
export async function runProgram(name, options, run) {
  const { argv, stderr } = process;
  showWarnings((text) => stderr.write(`${name}: warning: ${text}\n`));
  try {
    await run(parseArguments({ ...options, verbose: editOptions.verbose }, argv.slice(2)));
  } catch (error) {
    stderr.write(`${name}: ${describeFailure(error, argv.includes("--verbose"), options)}\n`);
    process.exitCode = statusOf(error);
  }
}

/** @throws `ERR_USAGE` if the seed is one of those that were used in training or tuning the model */
export function refuseUsedSeed(seed, seeds) {
  const use = Object.keys(seeds).find((name) => seeds[name] === seed);
  if (use === undefined) return;
  const used = Object.values(seeds).join(", ");
  throw new InstructPix2PixError(
    "ERR_USAGE",
    `--seed ${seed} was used to make the model (${use}); choose one other than ${used}`,
  );
}

/** @throws `ERR_IO` if a file could not be written there */
export function refuseMissingFolder(flag, path) {
  const folder = dirname(resolve(path));
  if (!isFolder(folder)) throw new InstructPix2PixError("ERR_IO", `${flag}: there is no folder "${folder}"`);
}

/** Loads the pipeline that a program's options name. */
export async function loadModel({ model, scheduler, dtype, quantization, device }) {
  if (!isFolder(model)) throw new InstructPix2PixError("ERR_FILE_NOT_FOUND", `--model: there is no folder "${model}"`);
  const Scheduler = scheduler === undefined ? undefined : schedulerFromClassName(scheduler);
  const options = { dtype, quantization, device, suggestAllowNonFinite: false };
  const pipeline = await InstructPix2PixPipeline.fromPretrained(resolve(model), options);
  if (Scheduler) pipeline.scheduler = Scheduler.fromConfig(pipeline.scheduler.config);
  return pipeline;
}

function isFolder(path) {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}

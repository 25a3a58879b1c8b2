import { statSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { editOptions } from "../../dist/cli/edit/options.js";
import { describeFailure, statusOf } from "../../dist/cli/failure.js";
import { showWarnings } from "../../dist/cli/warnings.js";
import { InstructPix2PixError, InstructPix2PixPipeline } from "../../dist/index.js";
import { parseArguments } from "../../dist/options/parse.js";
import { schedulerFromClassName } from "../../dist/schedulers/registry.js";
import { EDITING, SEEDS } from "./settings.mjs";

const { dtype, quantization, device, scheduler } = editOptions;

/** Options of every program that scores a model. */
export const SCORING_OPTIONS = {
  model: { type: "string", required: true, help: "the folder of the pipeline" },
  count: { type: "integer", min: 1, max: 1_000_000, default: 200, help: "examples to edit" },
  steps: { type: "integer", min: 1, default: EDITING.numInferenceSteps, help: "denoising steps" },
  batch: { type: "integer", min: 1, max: 1024, default: 8, help: "examples to edit at the same time" },
  ...{ scheduler, dtype, quantization, device },
};

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

/** @throws `ERR_USAGE` if the seed's world was used in training or tuning the model */
export function refuseUsedSeed(seed) {
  const use = Object.keys(SEEDS).find((name) => SEEDS[name] === seed);
  if (use === undefined) return;
  const used = Object.values(SEEDS).join(", ");
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

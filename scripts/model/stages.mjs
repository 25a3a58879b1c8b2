import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { train } from "../../dist/index.js";
import { exportModel } from "./export.mjs";
import { computesInBfloat16 } from "./precision.mjs";

const root = fileURLToPath(new URL("../..", import.meta.url));
const program = join(root, "dist", "cli", "main.js");

/**
 * The program that trains a built-in model, or resumes where an earlier run was stopped: `--work DIR`, `--output DIR`,
 * `--from FOLDER`, `--stage NAME` and `--device`.
 *
 * @param {string} name of the model, as in models/NAME
 * @param {object[]} stages runs of `train()`, each starting from the model of the one before
 * @param {(place: { stages: object[], work: string, log: (line: string) => void, signal: AbortSignal }) => Promise<() => Promise<string>>} prepare makes
 *   what the stages are trained on, and gives what makes the model to begin with
 */
export async function trainModel(name, stages, prepare) {
  const { values } = parseArgs({
    options: {
      work: { type: "string", default: join(root, `${name}-training`) },
      output: { type: "string", default: join(root, "models", name) },
      from: { type: "string" },
      stage: { type: "string", default: stages[0].name },
      device: { type: "string", default: "auto" },
    },
  });
  const { work, output, device } = values;
  const log = timedLog();
  const signal = stopSignal();
  try {
    const left = stagesFrom(stages, values.stage);
    const makeBase = await prepare({ stages: left, work, log, signal });
    let model = values.from ?? (await makeBase());
    for (const stage of left) model = await trainStage(stage, work, model, { device, log, signal });
    await exportModel(model, output);
    log(`${output}: done`);
  } catch (error) {
    console.error(`${name}:train: ${error.message}`);
    process.exitCode = 1;
  }
}

/** A log on standard output whose lines begin with the time since now. */
function timedLog() {
  const started = Date.now();
  return (line) => console.log(`${new Date(Date.now() - started).toISOString().slice(11, 19)}  ${line}`);
}

/** The signal of Ctrl-C and of SIGTERM: runs end after a checkpoint. */
function stopSignal() {
  const stopping = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => stopping.abort());
  return stopping.signal;
}

/**
 * Makes the data sets of pairs that stages are trained on, in the work folder.
 *
 * @param {Record<string, { count: number, seed: number, families?: string | string[] }>} pairs by folder
 * @param {(pairs: object) => string[]} source of one of them, in arguments of `ip2p make-dataset`
 */
export function makeAllPairs(stages, pairs, source, { work, log }) {
  // A stage's folder may hold several of them.
  const used = (folder) => stages.some((stage) => `${folder}/`.startsWith(`${stage.pairs}/`));
  for (const [folder, options] of Object.entries(pairs).filter(([folder]) => used(folder))) {
    const { count, seed, families } = options;
    const args = [...source(options), "--count", String(count), "--seed", String(seed)];
    makePairs(join(work, folder), families ? [...args, "--families", String(families)] : args, log);
  }
}

/** Makes a data set of pairs by `ip2p make-dataset`, unless it is there; one that was interrupted is continued. */
function makePairs(folder, args, log) {
  if (existsSync(folder)) return;
  log(`making ${folder}`);
  mkdirSync(dirname(folder), { recursive: true });
  const how = ["--format", "parquet", "--output", folder, "--quiet"];
  const { status } = spawnSync(process.execPath, [program, "make-dataset", ...args, ...how], { stdio: "inherit" });
  if (status !== 0) throw new Error(`make-dataset exited with status ${status}`);
}

/**
 * Trains UNet and text encoder in a run of `train()`, or resumes it; the average loss is logged periodically.
 *
 * @param {{ name: string, pairs: string, options: object }} stage
 * @param {string} work the folder of all intermediate results
 * @param {string} base the model to begin with
 * @returns the trained model's folder
 */
async function trainStage({ name, pairs, options }, work, base, { device, log, signal }) {
  const outputDir = join(work, name);
  if (existsSync(join(outputDir, "model_index.json"))) return outputDir;
  let [sum, count] = [0, 0];
  await train({
    ...options,
    mixedPrecision: computesInBfloat16(device) ? "bf16" : "no",
    device,
    pretrainedModelNameOrPath: base,
    trainDataDir: join(work, pairs),
    outputDir,
    cacheDir: join(work, "cache"),
    resumeFromCheckpoint: "latest",
    reportTo: "none",
    signal,
    onEvent: (event) => {
      if (event.type === "caching" && event.done % 2048 < options.trainBatchSize)
        log(`encoding: ${event.done} of ${event.total} pairs`);
      else if (event.type === "warning") log(event.message);
      else if (event.type === "resumed") log(`resuming from ${event.checkpoint}`);
    },
    onStep: ({ step, trainLoss, seconds }) => {
      sum += trainLoss;
      count += 1;
      if (step % 100 !== 0) return;
      log(`${name} stage, step ${step}: loss ${(sum / count).toFixed(4)}, ${seconds.toFixed(2)} s per step`);
      [sum, count] = [0, 0];
    },
  });
  return outputDir;
}

/** The stages from the named one on. @throws if there is none of that name */
function stagesFrom(stages, name) {
  const found = stages.findIndex((stage) => stage.name === name);
  if (found === -1) throw new Error(`--stage: there is no stage ${JSON.stringify(name)}`);
  return stages.slice(found);
}

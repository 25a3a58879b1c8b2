// `npm run tiny:train`: makes the built-in model from nothing, or goes on where an earlier run was stopped.
//
//   npm run tiny:train -- [--work DIR] [--output models/tiny] [--from FOLDER] [--max_train_steps N] [--device auto]
//
// --from begins with the weights of a model instead of random ones: --from models/tiny trains the built-in model further.
// Everything on the way stays in the work folder: the autoencoder, the pairs, the checkpoints, the metrics. What is trained
// and how long is in settings.mjs.

import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { train } from "../../dist/index.js";
import { trainAutoencoder } from "./autoencoder.mjs";
import { makeBaseModel } from "./base-model.mjs";
import { exportModel } from "./export.mjs";
import { PAIRS, SEEDS, SIZE, TRAINING } from "./settings.mjs";

const root = fileURLToPath(new URL("../..", import.meta.url));
const started = Date.now();
const log = (line) => console.log(`${new Date(Date.now() - started).toISOString().slice(11, 19)}  ${line}`);

function makePairs(folder) {
  if (existsSync(folder)) return folder;
  log(`drawing ${PAIRS} pairs`);
  const what = ["--world", "--count", String(PAIRS), "--seed", String(SEEDS.training), "--size", String(SIZE)];
  const args = [
    join(root, "dist", "cli", "main.js"),
    "make-dataset",
    ...what,
    "--format",
    "parquet",
    "--output",
    folder,
  ];
  const { status } = spawnSync(process.execPath, [...args, "--quiet"], { stdio: "inherit" });
  if (status !== 0) throw new Error(`make-dataset ended with ${status}`);
  return folder;
}

/** Trains UNet and text encoder; the average of the loss is logged now and then. */
async function trainDenoiser(work, base, options) {
  const outputDir = join(work, "run");
  let [sum, count] = [0, 0];
  await train({
    ...TRAINING,
    ...options,
    pretrainedModelNameOrPath: base,
    trainDataDir: join(work, "pairs"),
    outputDir,
    cacheDir: join(work, "cache"),
    resumeFromCheckpoint: "latest",
    reportTo: "none",
    signal: stopping.signal,
    onEvent: (event) => {
      if (event.type === "caching" && event.done % 2048 < TRAINING.trainBatchSize)
        log(`encoding: ${event.done} of ${event.total} pairs`);
      else if (event.type === "warning") log(event.message);
      else if (event.type === "resumed") log(`going on from ${event.checkpoint}`);
    },
    onStep: ({ step, trainLoss, seconds }) => {
      sum += trainLoss;
      count += 1;
      if (step % 100 !== 0) return;
      log(`step ${step}: loss ${(sum / count).toFixed(4)}, ${seconds.toFixed(2)} s a step`);
      [sum, count] = [0, 0];
    },
  });
  return outputDir;
}

const stopping = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => stopping.abort());

const { values } = parseArgs({
  options: {
    work: { type: "string", default: join(root, "tiny-training") },
    output: { type: "string", default: join(root, "models", "tiny") },
    from: { type: "string" },
    max_train_steps: { type: "string" },
    device: { type: "string", default: "auto" },
  },
});
try {
  const { work, device } = values;
  const base = values.from ?? (await makeBaseModel(join(work, "base"), await trainAutoencoder(work, log)));
  makePairs(join(work, "pairs"));
  const limit = values.max_train_steps && { maxTrainSteps: Number(values.max_train_steps) };
  const model = await trainDenoiser(work, base, { device, ...limit });
  await exportModel(model, values.output);
  log(`${values.output}: done`);
} catch (error) {
  console.error(`tiny:train: ${error.message}`);
  process.exitCode = 1;
}

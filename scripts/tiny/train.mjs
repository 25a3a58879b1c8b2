// `npm run tiny:train`: trains the built-in model from scratch, or resumes where an earlier run was stopped.
//
//   npm run tiny:train -- [--work DIR] [--output models/tiny] [--from FOLDER] [--stage NAME] [--device auto]
//
// --from begins with the weights of a model instead of random ones, and --stage with a later stage:
// `--from models/tiny --stage second` trains the built-in model further. All intermediate results stay in the work folder: the
// autoencoder, the pairs, the checkpoints, the metrics. What is trained and how long is in settings.mjs.

import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { train } from "../../dist/index.js";
import { trainAutoencoder } from "./autoencoder.mjs";
import { makeBaseModel } from "./base-model.mjs";
import { exportModel } from "./export.mjs";
import { PAIRS, SIZE, STAGES } from "./settings.mjs";

const root = fileURLToPath(new URL("../..", import.meta.url));
const started = Date.now();
const log = (line) => console.log(`${new Date(Date.now() - started).toISOString().slice(11, 19)}  ${line}`);

function makePairs(folder, { count, seed, families }) {
  if (existsSync(folder)) return;
  log(`drawing ${count} pairs`);
  const what = ["--world", "--count", String(count), "--seed", String(seed), "--size", String(SIZE)];
  if (families) what.push("--families", families);
  const how = ["--format", "parquet", "--output", folder, "--quiet"];
  const program = join(root, "dist", "cli", "main.js");
  const { status } = spawnSync(process.execPath, [program, "make-dataset", ...what, ...how], { stdio: "inherit" });
  if (status !== 0) throw new Error(`make-dataset exited with status ${status}`);
}

/** Trains UNet and text encoder; the average loss is logged periodically. */
async function trainStage({ name, pairs, options }, work, base, device) {
  const outputDir = join(work, name);
  if (existsSync(join(outputDir, "model_index.json"))) return outputDir;
  let [sum, count] = [0, 0];
  await train({
    ...options,
    device,
    pretrainedModelNameOrPath: base,
    trainDataDir: join(work, pairs),
    outputDir,
    cacheDir: join(work, "cache"),
    resumeFromCheckpoint: "latest",
    reportTo: "none",
    signal: stopping.signal,
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

const stopping = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => stopping.abort());

const { values } = parseArgs({
  options: {
    work: { type: "string", default: join(root, "tiny-training") },
    output: { type: "string", default: join(root, "models", "tiny") },
    from: { type: "string" },
    stage: { type: "string", default: STAGES[0].name },
    device: { type: "string", default: "auto" },
  },
});
try {
  const { work, device, stage: first } = values;
  const stages = STAGES.slice(STAGES.findIndex(({ name }) => name === first));
  if (stages[0].name !== first) throw new Error(`--stage: there is no stage ${JSON.stringify(first)}`);
  for (const [folder, made] of Object.entries(PAIRS)) makePairs(join(work, folder), made);
  let model = values.from ?? (await makeBaseModel(join(work, "base"), await trainAutoencoder(work, log)));
  for (const stage of stages) model = await trainStage(stage, work, model, device);
  await exportModel(model, values.output);
  log(`${values.output}: done`);
} catch (error) {
  console.error(`tiny:train: ${error.message}`);
  process.exitCode = 1;
}

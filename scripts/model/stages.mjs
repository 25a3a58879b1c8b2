import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { train } from "../../dist/index.js";

const program = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));

/** A log on standard output whose lines begin with the time since now. */
export function timedLog() {
  const started = Date.now();
  return (line) => console.log(`${new Date(Date.now() - started).toISOString().slice(11, 19)}  ${line}`);
}

/** The signal of Ctrl-C and of SIGTERM: runs end after a checkpoint. */
export function stopSignal() {
  const stopping = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => stopping.abort());
  return stopping.signal;
}

/** Makes a data set of pairs by `ip2p make-dataset`, unless it is there; one that was interrupted is continued. */
export function makePairs(folder, args, log) {
  if (existsSync(folder)) return;
  log(`making ${folder}`);
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
export async function trainStage({ name, pairs, options }, work, base, { device, log, signal }) {
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
export function stagesFrom(stages, name) {
  const found = stages.findIndex((stage) => stage.name === name);
  if (found === -1) throw new Error(`--stage: there is no stage ${JSON.stringify(name)}`);
  return stages.slice(found);
}

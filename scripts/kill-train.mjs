// Kills `ip2p train` repeatedly at random moments and compares the final state with an uninterrupted run's:
//
//   node scripts/kill-train.mjs [--kills 200] [--steps 24] [--interval 2] [--seed N] [--fixture script-full] [-- MORE OPTIONS OF ip2p train]
//
// Each run is started with `--resume_from_checkpoint latest` and killed with SIGKILL until it completes; weights,
// optimizer, EMA weights and generators must then have the SHA-256 of the uninterrupted run's, metrics.jsonl every step once.
// Then another run begins, until --kills is reached. Prints where the kills hit.

import { spawn } from "node:child_process";
import { createHash, randomInt } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";

const { values, positionals: more } = parseArgs({
  allowPositionals: true,
  options: {
    kills: { type: "string", default: "200" },
    steps: { type: "string", default: "24" },
    interval: { type: "string", default: "2" },
    seed: { type: "string" },
    fixture: { type: "string", default: "script-full" },
  },
});
const kills = Number(values.kills);
const steps = Number(values.steps);
const interval = Number(values.interval);
const seed = values.seed === undefined ? randomInt(2 ** 31) : Number(values.seed);

const root = fileURLToPath(new URL("..", import.meta.url));
const main = join(root, "dist/cli/main.js");
const { latestValidCheckpoint } = await import(pathToFileURL(join(root, "dist/training/checkpoint/find.js")).href);

/** Marsaglia's xorshift32: the same --seed gives the same moments, up to the machine's timing. */
let state = seed || 1;
function random() {
  state ^= state << 13;
  state ^= state >>> 17;
  state ^= state << 5;
  return (state >>> 0) / 2 ** 32;
}

function start(outputDir) {
  const model = join(root, "test/fixtures", values.fixture);
  const options = {
    pretrained_model_name_or_path: join(model, "base"),
    train_data_dir: join(model, "dataset"),
    output_dir: outputDir,
    resolution: 32,
    train_batch_size: 2,
    gradient_accumulation_steps: 2,
    learning_rate: 1e-3,
    lr_scheduler: "cosine",
    lr_warmup_steps: 3,
    conditioning_dropout_prob: 0.2,
    seed: 3,
    max_train_steps: steps,
    checkpointing_steps: interval,
    checkpoints_total_limit: 3,
    resume_from_checkpoint: "latest",
    report_to: "none",
    device: "cpu",
    num_threads: 1,
  };
  const flags = Object.entries(options).map(([name, value]) => `--${name}=${value}`);
  const child = spawn(process.execPath, [main, "train", "--json", "--random_flip", "--use_ema", ...flags, ...more], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, OMP_NUM_THREADS: "1" },
  });
  const run = { child, last: { step: 0, checkpoint: 0, resumed: 0 }, stderr: "", onTold: () => {} };
  let rest = "";
  child.stdout.setEncoding("utf8").on("data", (text) => {
    const lines = (rest + text).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      const told = JSON.parse(line);
      if (told.event in run.last) run.last[told.event] = told.step;
      run.onTold(told);
    }
  });
  child.stderr.setEncoding("utf8").on("data", (text) => {
    run.stderr += text;
  });
  run.ended = new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => resolve(code ?? signal));
  });
  return run;
}

function sha256(bytes) {
  return createHash("sha256").update(bytes).digest("hex");
}

/** The final state of a run. */
function resultOf(outputDir) {
  const result = { "unet/diffusion_pytorch_model.safetensors": "" };
  const last = join(outputDir, `checkpoint-${steps}`);
  for (const entry of readdirSync(last, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || entry.name === "manifest.json") continue;
    const path = join(entry.parentPath, entry.name);
    let bytes = readFileSync(path);
    if (entry.name === "state.json") {
      const { options: _, ...rest } = JSON.parse(bytes.toString());
      bytes = JSON.stringify(rest);
    }
    result[path.slice(outputDir.length + 1)] = sha256(bytes);
  }
  for (const path of Object.keys(result)) if (!result[path]) result[path] = sha256(readFileSync(join(outputDir, path)));
  const lines = readFileSync(join(outputDir, "metrics.jsonl"), "utf8").trimEnd().split("\n");
  result["metrics.jsonl"] = lines
    .map((line) => JSON.parse(line))
    .map(({ step, train_loss, lr, grad_norm }) => [step, train_loss, lr, grad_norm].join(" "))
    .join("\n");
  return result;
}

function fail(message) {
  throw new Error(message);
}

const folder = mkdtempSync(join(tmpdir(), "ip2p-kill-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));

const whole = start(join(folder, "whole"));
if ((await whole.ended) !== 0) fail(`the uninterrupted run failed: ${whole.stderr}`);
const expected = JSON.stringify(resultOf(join(folder, "whole")));
console.log(`seed ${seed}: ${kills} kills of runs of ${steps} steps with a checkpoint every ${interval} steps`);

const hit = { starting: 0, training: 0, saving: 0 };
let done = 0;
let runs = 0;
let mostLost = 0;
while (done < kills) {
  const outputDir = join(folder, `run-${runs}`);
  let before = { step: 0, checkpoint: 0 };
  for (;;) {
    const run = start(outputDir);
    // A third of the kills wait until a folder is being written; a few hit during start-up.
    const choice = random();
    const heard = (count, event) =>
      Promise.race([
        run.ended,
        new Promise((resolve) => {
          let seen = 0;
          run.onTold = (told) => told.event === event && ++seen >= count && resolve();
        }),
      ]);
    if (done >= kills) await run.ended;
    else if (choice < 0.1) await sleep(random() * 800);
    else {
      await heard(1 + Math.floor(random() * 5), "step");
      if (choice < 0.45) {
        const isSaving = () => readdirSync(outputDir).some((name) => name.endsWith(".tmp"));
        while (run.child.exitCode === null && !isSaving()) await sleep(1);
        await sleep(random() * 40);
      } else await sleep(random() * 150);
    }
    run.child.kill("SIGKILL");
    const status = await run.ended;
    if (run.last.resumed > 0 || status === 0) {
      if (run.last.resumed < before.checkpoint) fail(`checkpoint ${before.checkpoint} was lost`);
      mostLost = Math.max(mostLost, before.step - run.last.resumed);
    }
    if (run.last.step > 0 || run.last.resumed > 0) before = run.last;
    if (status === 0) break;
    if (status !== "SIGKILL") fail(`the run ended with ${status}: ${run.stderr}`);
    done += 1;
    const isTemporary = (name) => name.endsWith(".tmp");
    let entries = [];
    try {
      entries = readdirSync(outputDir);
    } catch {}
    hit[entries.some(isTemporary) ? "saving" : run.last.step > 0 ? "training" : "starting"] += 1;
    const latest = await latestValidCheckpoint(outputDir, ({ path, error }) => fail(`${path}: ${error.message}`));
    if ((latest?.step ?? 0) < run.last.checkpoint) fail(`checkpoint ${run.last.checkpoint} was lost`);
    if (done % 20 === 0) console.log(`${done} kills, ${runs} runs finished`);
  }
  const result = resultOf(outputDir);
  if (JSON.stringify(result) !== expected)
    fail(`the run ended with different hashes:\n${JSON.stringify(result, null, 1)}\ninstead of\n${expected}`);
  runs += 1;
  rmSync(outputDir, { recursive: true });
}
console.log(
  `${done} kills (${hit.starting} while starting, ${hit.training} while training, ${hit.saving} while saving) in ${runs} runs: all ended with the uninterrupted run's SHA-256; at most ${mostLost} steps were repeated`,
);

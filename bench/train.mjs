// Measures training steps beside diffusers, on one machine and with the same number of threads:
//
//   npm run bench:train -- [--size 256] [--batch 1,2,4] [--steps 4] [--variants plain,checkpointed,cached,shadow,8bit,math,lora,accumulated] [--threads N]
//                          [--device cpu|cuda] [--precision bf16] [--model FOLDER] [--output FILE]
//
// A step is that of diffusers' script: both images and the text through the frozen models (unless cached), noise, forward,
// backward, clipping, AdamW. The state of one side alone takes 14 GB, so the sides run one after the other and not step
// by step; the order changes from variant to variant. The first step, which also allocates, is not counted.

import { spawn } from "node:child_process";
import { availableParallelism } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { OURS } from "./comparison.mjs";
import { commit, describeMachine, loadAverage } from "./machine.mjs";
import { randomModel } from "./model.mjs";
import { findPython } from "./python.mjs";
import { report } from "./report.mjs";
import { GIB, median } from "./stats.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const here = (name) => join(root, "bench", name);
const log = (line) => console.error(`bench: ${line}`);

const PLAIN = {
  checkpointing: false,
  cached: false,
  eightBit: false,
  attention: "auto",
  accumulation: 1,
  shadow: false,
  lora: false,
};
const VARIANTS = {
  plain: PLAIN,
  checkpointed: { ...PLAIN, checkpointing: true },
  cached: { ...PLAIN, cached: true },
  // Only on our side: the peer has no equivalent and is measured without it.
  shadow: { ...PLAIN, cached: true, shadow: true },
  "8bit": { ...PLAIN, eightBit: true },
  // The math attention kernel of both sides, which materialises the scores.
  math: { ...PLAIN, attention: "math" },
  // A LoRA of rank 4 in attention; with peft on the other side.
  lora: { ...PLAIN, lora: true },
  // The batch split into two micro-steps.
  accumulated: { ...PLAIN, accumulation: 2 },
};

async function runSide(name, command, args, settings) {
  const child = spawn(command, [...args, JSON.stringify(settings)], {
    env: { ...process.env, OMP_NUM_THREADS: String(settings.threads), HF_HUB_OFFLINE: "1" },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let errors = "";
  child.stderr.setEncoding("utf8").on("data", (text) => {
    errors = (errors + text).slice(-2000);
  });
  const closed = new Promise((done) => child.once("close", done));
  const answers = [];
  for await (const line of createInterface({ input: child.stdout })) answers.push(JSON.parse(line));
  const status = await closed;
  if (status !== 0) throw new Error(`${name} ended with ${status}: ${errors.trim()}`);
  const [{ loadSeconds }, ...steps] = answers;
  const counted = steps.slice(1).map(({ seconds }) => seconds);
  return {
    loadSeconds,
    stepSeconds: counted,
    medianStepSeconds: median(counted),
    peakBytes: steps.at(-1).peakBytes,
    losses: steps.map(({ loss }) => loss),
  };
}

const { values } = parseArgs({
  options: {
    size: { type: "string", default: "256" },
    batch: { type: "string", default: "2" },
    steps: { type: "string", default: "4" },
    threads: { type: "string", default: String(availableParallelism()) },
    precision: { type: "string", default: "bf16" },
    device: { type: "string", default: "cpu" },
    variants: { type: "string", default: "plain,checkpointed,cached" },
    model: { type: "string" },
    output: { type: "string" },
  },
});
const python = findPython();
if (python.missing) log(`diffusers is skipped: ${python.missing}`);
const numbers = Object.fromEntries(["size", "steps", "threads"].map((name) => [name, Number(values[name])]));
const common = {
  ...numbers,
  precision: values.precision,
  device: values.device,
  model: values.model ? resolve(values.model) : randomModel(log),
};
const record = { date: new Date().toISOString(), commit: commit(root), machine: describeMachine(), cases: [] };
const runs = values.batch
  .split(",")
  .flatMap((batch) => values.variants.split(",").map((variant) => ({ batch, variant })));
for (const [i, { batch, variant }] of runs.entries()) {
  if (!VARIANTS[variant]) throw new Error(`--variants must be of ${Object.keys(VARIANTS).join(", ")}, not ${variant}`);
  const settings = { ...common, batch: Number(batch), ...VARIANTS[variant] };
  const sides = [[OURS, process.execPath, [here("train-ours.mjs")]]];
  // The peer's 8-bit Adam needs a GPU.
  if (python.path && variant !== "8bit") sides.push(["diffusers", python.path, [here("train_reference.py")]]);
  if (i % 2 === 1) sides.reverse();
  const results = {};
  const before = loadAverage();
  for (const [name, command, args] of sides) {
    results[name] = await runSide(name, command, args, settings);
    log(
      `batch ${batch}, ${variant}: ${name} ${results[name].medianStepSeconds.toFixed(2)} s/step, ${(results[name].peakBytes / GIB).toFixed(2)} GiB`,
    );
  }
  const { model: _, ...recorded } = settings;
  record.cases.push({ variant, settings: recorded, loadAverage: { before, after: loadAverage() }, results });
}
report(
  record,
  values.output ?? here(join("results", `train-${record.date.slice(0, 19).replaceAll(":", "")}.json`)),
  log,
);

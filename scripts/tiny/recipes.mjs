// What each recipe does for the built-in model's score, after equal steps of the demo's lesson from the same weights:
//
//   node scripts/tiny/recipes.mjs --output FILE [--steps 80] [--only "NAME|NAME"]
//
// Runs scripts/tiny/lesson.mjs once for each line of RUNS and prints a table in Markdown; FILE has the numbers as JSON, with each run as
// soon as it is there, and runs that it has already are not repeated. The three plain runs differ in the seed only: what a recipe
// changes by less than they differ says nothing.

import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { describeMachine } from "../../bench/machine.mjs";

const { values } = parseArgs({
  options: {
    output: { type: "string" },
    steps: { type: "string", default: "80" },
    only: { type: "string" },
  },
});
if (values.output === undefined) throw new Error("give --output FILE");

/** What is changed, by name. Learning rates are those that the options' help asks for, beside AdamW's of the lesson. */
const RUNS = {
  "plain, seed 1": [],
  "plain, seed 2": ["--seed=2"],
  "plain, seed 3": ["--seed=3"],
  "Min-SNR-γ, 5": ["--snr_gamma=5"],
  "zero terminal SNR": ["--zero_terminal_snr"],
  "noise offset, 0.1": ["--noise_offset=0.1"],
  "input perturbation, 0.1": ["--input_perturbation=0.1"],
  "pseudo-Huber, by SNR": ["--loss_type=huber"],
  "smooth L1, by SNR": ["--loss_type=smooth_l1"],
  "dropout of the text 0.1, image 0.02, both 0.02": [
    ...["--text_dropout_prob=0.1", "--image_dropout_prob=0.02", "--both_dropout_prob=0.02"],
  ],
  "8-bit AdamW": ["--use_8bit_adam"],
  "8-bit Lion, a fifth of the rate": ["--optimizer=lion_8bit", "--learning_rate=6e-5", "--adam_beta2=0.99"],
  "Prodigy, rate 1": ["--optimizer=prodigy", "--learning_rate=1"],
  EMA: ["--use_ema"],
  "post-hoc EMA of width 0.1": ["--post_hoc_ema", "--post_hoc_ema_steps=4"],
  "later timesteps 4 times as often": [
    ...["--timestep_bias_strategy=later", "--timestep_bias_portion=0.4", "--timestep_bias_multiplier=4"],
  ],
  "LoRA of rank 8, rate 5e-3": ["--lora", "--rank=8", "--learning_rate=5e-3"],
};

const lesson = fileURLToPath(new URL("lesson.mjs", import.meta.url));
const steps = Number(values.steps);
const record = existsSync(values.output)
  ? JSON.parse(readFileSync(values.output, "utf8"))
  : { machine: describeMachine(), steps, runs: [] };
if (record.steps !== steps) throw new Error(`${values.output} has runs of ${record.steps} steps`);
const wanted = values.only?.split("|") ?? Object.keys(RUNS);
for (const name of wanted) {
  if (!(name in RUNS)) throw new Error(`there is no run ${JSON.stringify(name)}`);
  if (record.runs.some((run) => run.name === name)) continue;
  const folder = mkdtempSync(join(tmpdir(), "recipes-"));
  try {
    const args = [`--output_dir=${join(folder, "run")}`, `--max_train_steps=${steps}`, ...RUNS[name]];
    const { status, stdout, stderr } = spawnSync(process.execPath, [lesson, ...args], { encoding: "utf8" });
    if (status !== 0) throw new Error(`${name}: ${stderr.trim()}`);
    const { learned, known, seconds } = JSON.parse(stdout.trim().split("\n").at(-1));
    record.runs.push({ name, options: RUNS[name].join(" "), learned, known, seconds });
    writeFileSync(values.output, `${JSON.stringify(record, null, 2)}\n`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
const percent = (share) => `${Math.round(share * 100)} %`;
console.log(`| after ${steps} steps | lesson | known before |\n| --- | --- | --- |`);
for (const { name, learned, known } of record.runs)
  console.log(`| ${name} | ${percent(learned)} | ${percent(known)} |`);

// Measures what `ip2p launch` costs one process, and what two processes gain on the cores of one host:
//
//   node bench/launch.mjs [--steps 60] [--batch 8] [--rounds 4] [--threads 2] [--model DIR] [--resolution 64] [--output FILE]
//
// A model, by default the built-in one, trains in turn: by `ip2p train` with all threads, by one process of `ip2p launch` with as
// many, and by two with half of them and half the batch each. Steps are those that rank 0 reports; the first ones are not
// counted. A run's whole time, from the start of the command to its end, has loading and saving in it, and so has the CPU time
// of all its processes, which says more on a busy machine. Needs bash.

import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { commit, describeMachine, loadAverage } from "./machine.mjs";
import { median } from "./stats.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const WARM_UP = 5;

const { values } = parseArgs({
  options: {
    steps: { type: "string", default: "60" },
    batch: { type: "string", default: "8" },
    rounds: { type: "string", default: "4" },
    model: { type: "string", default: "models/tiny" },
    resolution: { type: "string", default: "64" },
    threads: { type: "string", default: String(availableParallelism()) },
    output: { type: "string" },
  },
});
const [steps, batch, rounds, threads] = ["steps", "batch", "rounds", "threads"].map((name) => Number(values[name]));
if (batch % 2 !== 0 || threads % 2 !== 0) throw new Error("--batch and --threads are divided by two processes");

const WAYS = {
  train: { launch: [], processes: 1 },
  "launch, 1 process": { launch: ["launch", "--num_processes=1"], processes: 1 },
  "launch, 2 processes": { launch: ["launch", "--num_processes=2"], processes: 2 },
};

/** Prints the CPU time of a command and of the processes that it started, in seconds. */
const TIMED = 'TIMEFORMAT="cpu %U %S"; time "$@"';

/** One training. → its whole time, its CPU time and the median of a step's time, in seconds */
async function run({ launch, processes }) {
  const folder = mkdtempSync(join(tmpdir(), "ip2p-bench-launch-"));
  const command = [
    ...[join(root, "dist/cli/main.js"), ...launch, "train", "--json", "--device=cpu", "--report_to=none", "--seed=1"],
    ...[`--pretrained_model_name_or_path=${join(root, values.model)}`, `--resolution=${values.resolution}`],
    ...[`--train_data_dir=${join(root, "test/fixtures/script-full/dataset")}`, `--output_dir=${join(folder, "model")}`],
    ...[
      `--train_batch_size=${batch / processes}`,
      `--max_train_steps=${steps}`,
      `--num_threads=${threads / processes}`,
    ],
  ];
  const start = performance.now();
  const child = spawn("bash", ["-c", TIMED, "bash", process.execPath, ...command], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  const said = { stdout: "", stderr: "" };
  for (const stream of ["stdout", "stderr"])
    child[stream].setEncoding("utf8").on("data", (text) => {
      said[stream] += text;
    });
  const status = await new Promise((resolve) => child.on("close", resolve));
  const seconds = (performance.now() - start) / 1000;
  rmSync(folder, { recursive: true, force: true });
  if (status !== 0) throw new Error(`${command.join(" ")}: ${said.stderr}`);
  const told = [...said.stdout.matchAll(/"event":"step".*?"seconds":([\d.e-]+)/g)].map(([, each]) => Number(each));
  if (told.length !== steps) throw new Error(`${told.length} of ${steps} steps were reported`);
  const [, user, system] = /^cpu ([\d.]+) ([\d.]+)$/m.exec(said.stderr);
  return { seconds, cpuSeconds: Number(user) + Number(system), stepSeconds: median(told.slice(WARM_UP)) };
}

const record = {
  date: new Date().toISOString(),
  commit: commit(root),
  machine: describeMachine(),
  settings: { model: values.model, resolution: Number(values.resolution), steps, batch, threads, rounds },
  load: { before: loadAverage() },
  runs: Object.fromEntries(Object.keys(WAYS).map((name) => [name, []])),
};
for (let round = 0; round < rounds; round++)
  // In another order each time, so that what grows slower with time favours none.
  for (const name of round % 2 === 0 ? Object.keys(WAYS) : Object.keys(WAYS).reverse()) {
    const result = await run(WAYS[name]);
    record.runs[name].push(result);
    console.error(
      `bench: ${name}: ${(1000 * result.stepSeconds).toFixed(1)} ms a step, ${result.seconds.toFixed(1)} s in all, ${result.cpuSeconds.toFixed(1)} s of CPU time`,
    );
  }
record.load.after = loadAverage();
const of = (name, key) => median(record.runs[name].map((result) => result[key]));
const [plain, one, two] = Object.keys(WAYS);
record.results = {
  overheadOfStepMilliseconds: 1000 * (of(one, "stepSeconds") - of(plain, "stepSeconds")),
  overheadOfStep: of(one, "stepSeconds") / of(plain, "stepSeconds") - 1,
  overheadOfRun: of(one, "seconds") / of(plain, "seconds") - 1,
  overheadOfCpu: of(one, "cpuSeconds") / of(plain, "cpuSeconds") - 1,
  overheadSeconds: of(one, "seconds") - of(plain, "seconds"),
  speedOfTwo: of(one, "stepSeconds") / of(two, "stepSeconds"),
};
console.log(JSON.stringify(record.results, null, 2));
const path = values.output ?? join(root, "bench/results/alone", `${record.date.slice(0, 10)}-launch.json`);
mkdirSync(dirname(path), { recursive: true });
writeFileSync(path, `${JSON.stringify(record, null, 2)}\n`);
console.error(`bench: written to ${path}`);

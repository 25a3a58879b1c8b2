// Runs many tiny optimizer steps in one process and watches memory and file descriptors:
//
//   node scripts/soak-train.mjs [--steps 100000] [--runs 1] [--fixture script-full] [--every 1000] [--cache_latents]
//
// Prints resident memory, V8's heap and open file descriptors periodically, and at the end the growth of peak memory from
// the first half to the second: it must be less than 8 MiB, with no additional descriptor. (Not a slope: the allocator
// returns cached memory to the system in every pause and takes it again afterwards.) --cache_latents skips decoding and
// encoding images, which is most of a tiny step. --runs does several runs one after the other, so that start and end
// are covered as well.
//
// The work is done in a child process with one malloc arena: with glibc's many, decoding images on changing threads
// fragments free memory, which looks like a leak of some hundred bytes per image until it levels off.

import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";

const { values } = parseArgs({
  options: {
    steps: { type: "string", default: "100000" },
    runs: { type: "string", default: "1" },
    every: { type: "string", default: "1000" },
    fixture: { type: "string", default: "script-full" },
    cache_latents: { type: "boolean", default: false },
  },
});
const steps = Number(values.steps);
const runs = Number(values.runs);
const every = Number(values.every);
const MOST_GROWTH = 8 * 2 ** 20;

if (!globalThis.gc) {
  const env = { OMP_NUM_THREADS: "1", MALLOC_ARENA_MAX: "1", ...process.env };
  const again = ["--expose-gc", ...process.argv.slice(1)];
  process.exit(spawnSync(process.execPath, again, { stdio: "inherit", env }).status ?? 1);
}

const root = fileURLToPath(new URL("..", import.meta.url));
const { train } = await import(pathToFileURL(join(root, "dist/training/train.js")).href);
const model = join(root, "test/fixtures", values.fixture);
const folder = mkdtempSync(join(tmpdir(), "ip2p-soak-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));

const samples = [];
const started = performance.now();

function openFiles() {
  try {
    return readdirSync("/proc/self/fd").length;
  } catch {
    return 0;
  }
}

function sample(step) {
  globalThis.gc();
  const { rss, heapUsed } = process.memoryUsage();
  samples.push({ step, rss, heapUsed, files: openFiles() });
  const minutes = ((performance.now() - started) / 60_000).toFixed(1);
  const megabytes = (bytes) => (bytes / 2 ** 20).toFixed(1);
  console.log(
    `${minutes} min, step ${step}: ${megabytes(rss)} MiB resident, ${megabytes(heapUsed)} MiB heap, ${samples.at(-1).files} files`,
  );
}

let done = 0;
for (let run = 0; run < runs; run++) {
  const share = Math.floor((steps * (run + 1)) / runs) - Math.floor((steps * run) / runs);
  await train({
    pretrainedModelNameOrPath: join(model, "base"),
    trainDataDir: join(model, "dataset"),
    outputDir: join(folder, `run-${run}`),
    resolution: 16,
    trainBatchSize: 1,
    maxTrainSteps: share,
    conditioningDropoutProb: 0.1,
    randomFlip: true,
    useEma: true,
    cacheLatents: values.cache_latents,
    learningRate: 1e-4,
    seed: 1n,
    checkpointingSteps: Math.max(1, Math.min(500, share)),
    checkpointsTotalLimit: 2,
    reportTo: "none",
    device: "cpu",
    onEvent: () => {},
    onStep: () => {
      done += 1;
      if (done % every === 0) sample(done);
    },
  });
  rmSync(join(folder, `run-${run}`), { recursive: true });
}

if (samples.length < 6) throw new Error("too few samples to compare halves: run more steps, or lower --every");
const half = Math.floor(samples.length / 2);
const highest = (some, key) => Math.max(...some.map((one) => one[key]));
const growthOf = (key) => highest(samples.slice(half), key) - highest(samples.slice(0, half), key);
const [growth, heap, files] = [growthOf("rss"), growthOf("heapUsed"), growthOf("files")];
const mebibytes = (bytes) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
console.log(
  `${done} steps in ${runs} runs, ${((performance.now() - started) / done).toFixed(1)} ms each; in the second half at most ${mebibytes(growth)} more of resident memory, ${mebibytes(heap)} of heap, ${files} files`,
);
if (growth > MOST_GROWTH || files > 0) {
  console.error("it leaks");
  process.exitCode = 1;
}

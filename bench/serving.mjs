// Measures requests that are computed together beside the same requests one by one:
//
//   node bench/serving.mjs [--model DIR] [--concurrent 8] [--steps 20] [--size 64] [--rounds 3] [--dtype float32] [--passes 3,6,12,24] [--output FILE]
//
// Without --model, the built-in one. A round makes as many edits as are concurrent, first one after the other, then all at
// once with step batching; the figures are medians of the rounds. Prints images per minute, and their ratio. --passes also
// measures, before all else, a pass through the UNet for each of these numbers of rows, given in ascending order: its seconds, and
// how much the process has grown by then at most beside what the package counts on (unetMemory).

import { writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { builtInModel, InstructPix2PixPipeline, RgbImage, Tensor } from "../dist/index.js";
import { bytesOf } from "../dist/pipelines/check-memory.js";
import { unetMemory } from "../dist/pipelines/footprint.js";
import { native } from "../dist/runtime/native.js";
import { commit, describeMachine, loadAverage, peakMemory } from "./machine.mjs";

const { values } = parseArgs({
  options: {
    model: { type: "string", default: builtInModel },
    concurrent: { type: "string", default: "8" },
    steps: { type: "string", default: "20" },
    size: { type: "string", default: "64" },
    rounds: { type: "string", default: "3" },
    dtype: { type: "string", default: "float32" },
    passes: { type: "string", default: "" },
    threads: { type: "string", default: "" },
    output: { type: "string" },
  },
});
const [count, numInferenceSteps, size, rounds] = ["concurrent", "steps", "size", "rounds"].map((name) =>
  Number(values[name]),
);
if (values.threads !== "") await native().setThreads(Number(values.threads));

const pipe = await InstructPix2PixPipeline.fromPretrained(values.model, { device: "cpu", dtype: values.dtype });
const image = new RgbImage(size, size, new Uint8Array(3 * size * size).fill(128));
const edit = (seed) => pipe.run({ image, prompt: "change the background to peach", seed, numInferenceSteps });

async function seconds(work) {
  const begun = performance.now();
  await work();
  return (performance.now() - begun) / 1000;
}
const median = (list) => list.toSorted((a, b) => a - b)[Math.floor(list.length / 2)];

const measured = [];
const before = process.memoryUsage().rss;
let most = before;
for (const rows of values.passes.split(",").filter(Boolean).map(Number)) {
  const { in_channels: channels, cross_attention_dim: width } = pipe.unet.config;
  const latents = { height: size / pipe.vae.scaleFactor, width: size / pipe.vae.scaleFactor };
  const sample = await Tensor.randn([rows, channels, latents.height, latents.width]);
  const text = await Tensor.randn([rows, 77, width]);
  const watch = setInterval(() => {
    most = Math.max(most, process.memoryUsage().rss);
  }, 5);
  const time = await seconds(async () => (await pipe.unet.forward(sample, 500, text)).dispose());
  clearInterval(watch);
  const expectedBytes = unetMemory(pipe.unet.config, latents, { rows, bytes: bytesOf(pipe.unet) });
  measured.push({ rows, seconds: time, secondsPerRow: time / rows, grownBytes: most - before, expectedBytes });
}
let passes = [];
async function together() {
  pipe.enableStepBatching({ onPass: (pass) => passes.push(pass) });
  await Promise.all(Array.from({ length: count }, (_, i) => edit(i)));
  pipe.disableStepBatching();
}
async function oneByOne() {
  for (let i = 0; i < count; i++) await edit(i);
}

if (values.model === builtInModel) await together(); // warms up
await edit(0);
passes = [];
const times = { alone: [], together: [] };
for (let round = 0; round < rounds; round++) {
  times.alone.push(await seconds(oneByOne));
  times.together.push(await seconds(together));
}
const perMinute = (time) => (60 * count) / time;
const [alone, batched] = [median(times.alone), median(times.together)];
const result = {
  what: `${count} concurrent edits with step batching, beside the same one by one`,
  settings: { ...values, model: values.model === builtInModel ? "the built-in one" : values.model.split("/").at(-1) },
  machine: describeMachine(),
  commit: commit(dirname(dirname(fileURLToPath(import.meta.url)))),
  loadAverage: loadAverage(),
  imagesPerMinute: { alone: perMinute(alone), together: perMinute(batched) },
  ratio: alone / batched,
  runsPerPass: passes.reduce((sum, { runs }) => sum + runs, 0) / passes.length,
  seconds: times,
  ...(measured.length > 0 && { passes: measured }),
  peakBytes: peakMemory(),
};
console.log(JSON.stringify(result, null, 2));
if (values.output) writeFileSync(values.output, `${JSON.stringify(result, null, 2)}\n`);
pipe.dispose();

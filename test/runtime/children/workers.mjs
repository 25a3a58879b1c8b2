// Worker threads beside a main thread that computes too.
//
//   node workers.mjs terminate|edit|endings COUNT
import { setTimeout } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { onOneThread, Tensor, tinyModel, UNet2DConditionModel } from "./package.mjs";

const [what, count] = [process.argv[2], Number(process.argv[3])];
const program = new URL("worker-job.mjs", import.meta.url);
const start = (workerData) => new Worker(program, { workerData });
const message = (worker) =>
  new Promise((resolve, reject) => {
    worker.once("message", resolve);
    worker.once("error", reject);
    worker.once("exit", (code) => reject(new Error(`the worker ended with ${code} and no word`)));
  });
const exit = (worker) => new Promise((resolve) => worker.once("exit", resolve));

await onOneThread();
const { Generator } = await import("../../../dist/core/generator.js");
const unet = await UNet2DConditionModel.fromPretrained(`${tinyModel}/unet`);
async function compute(seed, size = 16) {
  const generator = new Generator("cpu", seed);
  const sample = await Tensor.randn([1, 8, size, size], { generator });
  const context = await Tensor.randn([1, 7, 32], { generator });
  const result = await unet.forward(sample, 5, context);
  const { buffer, byteOffset, byteLength } = await result.toArray();
  for (const tensor of [sample, context, result]) tensor.dispose();
  return Buffer.from(buffer, byteOffset, byteLength);
}

const result = { wrong: 0, codes: {} };
const note = (code) => {
  result.codes[code] = (result.codes[code] ?? 0) + 1;
};

if (what === "edit") {
  const workers = Array.from({ length: count }, (_, seed) => start({ mode: "edit", seed }));
  const exits = workers.map(exit);
  const own = Promise.all(workers.map((_, seed) => compute(seed)));
  const [theirs, mine] = await Promise.all([Promise.all(workers.map(message)), own]);
  result.wrong = mine.filter((bytes, i) => !bytes.equals(theirs[i])).length;
  for (const code of await Promise.all(exits)) note(code);
}

if (what === "terminate") {
  const expected = await compute(1);
  let done = 0;
  // Two at a time, one behind the other in the addon's queue.
  const line = async (which) => {
    while (done < count) {
      const turn = done++;
      const worker = start({ mode: "endless", seed: turn, size: 32 });
      // Now and then before it has loaded anything.
      if (turn % 5 !== 4) await message(worker);
      await setTimeout((turn * (3 + which)) % 17);
      await worker.terminate();
      note("terminated");
      if (!(await compute(1)).equals(expected)) result.wrong++;
    }
  };
  await Promise.all([line(0), line(1)]);
}

if (what === "endings")
  for (const mode of ["exit", "throw", "forget"])
    for (let i = 0; i < count; i++) {
      const worker = start({ mode, seed: i });
      worker.on("error", () => {});
      note(`${mode} ${await exit(worker)}`);
    }

console.log(JSON.stringify(result));

// The job of a worker thread in the tests. `workerData.mode` selects how it ends:
//   "edit": computes with the UNet and posts the result's bytes
//   "endless": computes until it is terminated, and says "computing" when it began
//   "exit": calls process.exit() in the middle of the work
//   "throw": throws in the middle of the work
//   "forget": ends with queued work that is not awaited
import { parentPort, workerData } from "node:worker_threads";
import { onOneThread, Tensor, tinyModel, UNet2DConditionModel } from "./package.mjs";

const { mode, size = 16, seed = 0 } = workerData;

await onOneThread();
const unet = await UNet2DConditionModel.fromPretrained(`${tinyModel}/unet`);
const { Generator } = await import("../../../dist/core/generator.js");
const generator = new Generator("cpu", seed);
const sample = await Tensor.randn([1, 8, size, size], { generator });
const context = await Tensor.randn([1, 7, 32], { generator });
const forward = () => unet.forward(sample, 5, context);

if (mode === "edit") {
  const array = await (await forward()).toArray();
  parentPort.postMessage(new Uint8Array(array.buffer, array.byteOffset, array.byteLength));
} else if (mode === "forget") {
  for (let i = 0; i < 3; i++) forward();
} else {
  // Always some jobs in the queue and one that is computed.
  for (let i = 0; i < 4; i++)
    (async () => {
      for (;;) (await forward()).dispose();
    })();
  await forward();
  parentPort.postMessage("computing");
  if (mode === "exit") process.exit(5);
  if (mode === "throw") throw new Error("in the middle of the work");
}

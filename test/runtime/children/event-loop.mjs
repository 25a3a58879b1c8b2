// Measures the delay of the event loop during some native work, beside that of a thread with nothing to do.
//
//   node event-loop.mjs load|edit|picture|dispose|block
import { once } from "node:events";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { setTimeout } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { RgbImage } from "../../../dist/images.js";
import { loadPipeline, native, Tensor, tinyImage, tinyModel } from "./package.mjs";

const MEGABYTE = 2 ** 20;
const pipe = await loadPipeline();
const { InstructPix2PixPipeline } = await import("../../../dist/pipelines/instruct_pix2pix.js");
const image = await Tensor.rand([1, 3, 112, 112]);
const large = new RgbImage(3000, 2000, new Uint8Array(3000 * 2000 * 3).fill(127));
const edit = (options) => pipe.run({ prompt: "make it a snowy day", seed: 0, image: tinyImage, ...options });
// What is done for the first time is compiled and loaded then.
await edit({ numInferenceSteps: 2 });
await (await large.resize(64, 64, "lanczos")).resize(8, 8, "lanczos");
const models = [];
for (let i = 0; i < 20; i++) models.push(await Tensor.zeros([40, MEGABYTE / 4]));

const work = {
  load: async () => {
    for (let i = 0; i < 50; i++) (await InstructPix2PixPipeline.fromPretrained(tinyModel, { device: "cpu" })).dispose();
  },
  edit: async () => {
    const { images } = await edit({ numInferenceSteps: 8, image, onStep: () => {} });
    await images[0].encode("png");
  },
  picture: async () => {
    for (let i = 0; i < 4; i++) {
      const small = await large.resize(1500, 1000, "lanczos");
      const tensor = new Tensor(await native().pictureToTensor(small.data, small.width, small.height));
      await native().tensorToPictures(tensor.handle);
      await tensor.toArray();
      tensor.dispose();
    }
  },
  dispose: async () => {
    for (const tensor of models) {
      tensor.dispose();
      await setTimeout(15);
    }
  },
  block: async () => {
    for (let i = 0; i < 4; i++) {
      const end = performance.now() + 250;
      while (performance.now() < end);
      await setTimeout(10);
    }
  },
}[process.argv[2]];

const idle = new Worker(
  `const { monitorEventLoopDelay } = require("node:perf_hooks");
   const { parentPort } = require("node:worker_threads");
   const delay = monitorEventLoopDelay({ resolution: 1 });
   delay.enable();
   parentPort.postMessage("on");
   parentPort.once("message", () => parentPort.postMessage([delay.percentile(99) / 1e6, delay.max / 1e6]));`,
  { eval: true },
);
await once(idle, "message");
const delay = monitorEventLoopDelay({ resolution: 1 });
// Starting the thread is not part of it.
await setTimeout(50);
delay.enable();
const begun = performance.now();
await work();
// A delay is seen when the loop turns next.
await setTimeout(5);
delay.disable();
const milliseconds = performance.now() - begun;
idle.postMessage("end");
const [[p99, max]] = await once(idle, "message");
await idle.terminate();
console.log(
  JSON.stringify({
    busy: { p99: delay.percentile(99) / 1e6, max: delay.max / 1e6 },
    idle: { p99, max },
    milliseconds,
  }),
);

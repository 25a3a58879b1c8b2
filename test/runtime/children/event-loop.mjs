// Prints what holds up the event loop during some native work.
//
//   node event-loop.mjs load|edit|image|dispose|block
import { setTimeout } from "node:timers/promises";
import { RgbImage } from "../../../dist/images/index.js";
import { heldUpDuring } from "../../helpers/event-loop.mjs";
import { loadPipeline, native, Tensor, tinyImage, tinyModel } from "./package.mjs";

const MEGABYTE = 2 ** 20;
const pipe = await loadPipeline();
const { InstructPix2PixPipeline } = await import("../../../dist/pipelines/stable_diffusion/instruct_pix2pix.js");
const image = await Tensor.rand([1, 3, 112, 112]);
const large = new RgbImage(3000, 2000, new Uint8Array(3000 * 2000 * 3).fill(127));
const edit = (options) => pipe.run({ prompt: "make it a snowy day", seed: 0, image: tinyImage, ...options });
// The first call also compiles and loads code.
await edit({ numInferenceSteps: 2 });
await (await large.resize(64, 64, "lanczos")).resize(8, 8, "lanczos");

const work = {
  load: async () => {
    for (let i = 0; i < 20; i++) (await InstructPix2PixPipeline.fromPretrained(tinyModel, { device: "cpu" })).dispose();
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
    const tensors = [];
    for (let i = 0; i < 20; i++) tensors.push(await Tensor.zeros([40, MEGABYTE / 4]));
    for (const tensor of tensors) {
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

console.log(JSON.stringify({ heldUp: await heldUpDuring(work) }));

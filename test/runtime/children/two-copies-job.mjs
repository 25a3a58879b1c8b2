// The job of one copy of the package in two-copies.mjs; also the program of its worker.
import { createHash } from "node:crypto";
import { parentPort, workerData } from "node:worker_threads";

/** An edit with the copy's model, as a hash of its pixels. */
export async function edit({ InstructPix2PixPipeline, RgbImage, builtInModel }) {
  const pipeline = await InstructPix2PixPipeline.fromPretrained(builtInModel, { device: "cpu" });
  const image = new RgbImage(64, 64, new Uint8Array(64 * 64 * 3).fill(99));
  const { images } = await pipeline.run({ image, prompt: "make it night", numInferenceSteps: 1, seed: 1 });
  pipeline.dispose();
  return createHash("sha256").update(images[0].data).digest("hex");
}

/** How one copy refuses objects of the other, handles of the addon included. */
export async function foreign(one, two) {
  const tensor = await one.Tensor.zeros([1]);
  const attempts = {
    tensor: () => two.Tensor.cat([tensor]),
    generator: () => two.Tensor.randn([1], { generator: new one.Generator("cpu", 1) }),
    handle: () => new two.Tensor(tensor.handle).equal(new two.Tensor(tensor.handle)),
    unet: async () => two.Tensor.randnLike(tensor),
  };
  const codes = {};
  for (const [name, attempt] of Object.entries(attempts))
    codes[name] = await (async () => attempt())().then(
      () => "taken",
      (error) => error.code,
    );
  return codes;
}

if (parentPort && workerData?.folder)
  parentPort.postMessage(await edit(await import(`${workerData.folder}/dist/index.js`)));

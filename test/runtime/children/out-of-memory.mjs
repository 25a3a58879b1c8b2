// Asks for too much in many ways, then edits an image.
import { loadPipeline, native, Tensor, tinyImage } from "./package.mjs";

const TERA = 2 ** 40;
const pipe = await loadPipeline();
const wide = await Tensor.zeros([1, 1]);
const requests = {};
async function ask(name, call) {
  try {
    await call();
    requests[name] = "was granted";
  } catch (error) {
    requests[name] = `${error.code} ${error.message}`;
  }
}
await ask("zeros", () => Tensor.zeros([TERA]));
await ask("full, float64", () => Tensor.full([2, TERA / 8], 1, { dtype: "float64" }));
await ask("randn", () => Tensor.randn([TERA, 2]));
await ask("randperm", () => Tensor.randperm(TERA));
await ask("repeat", () => wide.repeat([TERA, 1]));
await ask("repeatInterleave", () => wide.repeatInterleave(TERA, 0));
await ask("resizeNearest", () =>
  Tensor.zeros([1, 1, 1, 1]).then((x) => native().resizeNearest(x.handle, 2 ** 20, 2 ** 20)),
);
if (process.platform === "linux") {
  // Within what the machine has, but not within what this process may have.
  await ask("a limit", () => Tensor.zeros([3 * 2 ** 28]));
  await ask("a large image", async () => {
    const z = await Tensor.zeros([1, 4, 4096, 4096]);
    try {
      await pipe.vae.decode(z);
    } finally {
      z.dispose();
    }
  });
}
const { images } = await pipe.run({ prompt: "x", image: tinyImage, numInferenceSteps: 2, seed: 0 });
console.log(JSON.stringify({ requests, works: images[0].data.some((value) => value > 0) }));

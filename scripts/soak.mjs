// Uses the tiny model repeatedly in one process and checks that memory stays flat:
//
//   node scripts/soak.mjs [--edits 1000] [--objects 10000] [--workers 100] [--most 8] [--leak]
//
// Edits of every kind (schedulers, sizes, outputs, aborted ones), tensors, generators and models made and disposed of,
// worker threads that are terminated while working. Each part has a warm-up, so that all permanent allocations
// exist; then resident memory, V8's heap and the objects with native memory are sampled, and a
// line is fitted to the samples. Exits with 1 if it rises by more than --most MiB over the whole part.
//
// --leak keeps a tensor of 1 MiB of every edit. It must fail, which shows that this program detects a leak.

import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { Worker } from "node:worker_threads";

const { values } = parseArgs({
  options: {
    edits: { type: "string", default: "1000" },
    objects: { type: "string", default: "10000" },
    workers: { type: "string", default: "100" },
    most: { type: "string", default: "8" },
    leak: { type: "boolean", default: false },
  },
});
const MEBIBYTE = 2 ** 20;
const most = Number(values.most) * MEBIBYTE;

process.env.OMP_NUM_THREADS ??= "1";
setFlagsFromString("--expose-gc");
const gc = runInNewContext("gc");

const root = new URL("../", import.meta.url);
const at = (path) => fileURLToPath(new URL(path, root));
const { AutoencoderKL, Generator, InstructPix2PixPipeline, Tensor, ...library } = await import(
  pathToFileURL(at("dist/index.js")).href
);
const { native } = await import(pathToFileURL(at("dist/runtime/native.js")).href);

const model = at("test/fixtures/ip2p-tiny/model");
const image = at("test/fixtures/ip2p-tiny/image.png");

/** Collects garbage until finalisers have run, too. */
async function settle() {
  for (let i = 0; i < 3; i++) {
    gc();
    await new Promise(setImmediate);
  }
}

/** Slope of the line through the points, by least squares. */
function slope(points, key) {
  const mean = (pick) => points.reduce((sum, point) => sum + pick(point), 0) / points.length;
  const [x, y] = [mean((p) => p.count), mean((p) => p[key])];
  const covariance = points.reduce((sum, p) => sum + (p.count - x) * (p[key] - y), 0);
  return covariance / points.reduce((sum, p) => sum + (p.count - x) ** 2, 0);
}

let failed = false;

/** Does `action` `count` times and checks the memory of the last two thirds. */
async function part(name, count, action) {
  if (count < 1) return;
  const begun = performance.now();
  const warmUp = Math.ceil(count / 3);
  const every = Math.max(1, Math.floor((count - warmUp) / 40));
  const samples = [];
  for (let i = 0; i < count; i++) {
    await action(i);
    if (i < warmUp || (i - warmUp) % every !== 0) continue;
    await settle();
    const { rss, heapUsed } = process.memoryUsage();
    samples.push({ count: i + 1, rss, heapUsed, objects: native().memoryUsage().objects });
  }
  const measured = samples.at(-1).count - samples[0].count;
  const rise = (key) => (samples.length > 1 ? slope(samples, key) * measured : 0);
  const [resident, heap, objects] = [rise("rss"), rise("heapUsed"), Math.round(rise("objects"))];
  const flat = resident < most && heap < most && objects === 0;
  failed ||= !flat;
  const mebibytes = (bytes) => `${(bytes / MEBIBYTE).toFixed(2)} MiB`;
  const seconds = ((performance.now() - begun) / 1000).toFixed(0);
  console.log(
    `${name}: ${count} in ${seconds} s; over the last ${measured}: resident ${mebibytes(samples[0].rss)} to ${mebibytes(samples.at(-1).rss)}, ` +
      `grows by ${mebibytes(resident)} (${(resident / Math.max(1, measured) / 1024).toFixed(2)} KiB each); ` +
      `heap grows by ${mebibytes(heap)}; native objects by ${objects}: ${flat ? "flat" : "NOT FLAT"}`,
  );
}

// ---- edits ----------------------------------------------------------------------------------------------------------

const pipe = await InstructPix2PixPipeline.fromPretrained(model, { device: "cpu" });
const schedulers = Object.entries(library)
  // That of priors has no noise schedule for this model.
  .filter(([name]) => /^[A-Z].*\wScheduler$/.test(name) && name !== "UnCLIPScheduler")
  .map(([, Class]) => Class)
  .map((Class) => Class.fromConfig(pipe.scheduler.config));
const pictures = [image, await Tensor.rand([1, 3, 32, 48]), await Tensor.rand([2, 3, 64, 32])];
const outputs = ["image", "tensor", "latent"];
const leaked = [];

async function edit(i) {
  pipe.scheduler = schedulers[i % schedulers.length];
  const options = {
    prompt: i % 2 === 0 ? "make it a snowy day" : ["turn it", "into a painting"],
    image: pictures[i % pictures.length],
    outputType: outputs[i % outputs.length],
    numInferenceSteps: 4,
    guidanceScale: i % 5 === 4 ? 1 : 7.5,
    seed: i,
  };
  if (i % 3 === 2 && i % 2 === 0) options.prompt = ["one", "two"]; // as many as images
  if (i % 10 === 9) options.signal = AbortSignal.timeout(i % 7);
  try {
    const { images } = await pipe.run(options);
    if (!Array.isArray(images)) images.dispose();
  } catch (error) {
    if (error.code !== "ERR_ABORTED") throw error;
  }
  if (values.leak) leaked.push(await Tensor.full([MEBIBYTE / 4], i));
}

// ---- objects --------------------------------------------------------------------------------------------------------

const vae = await AutoencoderKL.fromPretrained(`${model}/vae`);
const small = await Tensor.rand([1, 3, 8, 8]);

/** Creates the objects that users create, and disposes of them or leaves them to garbage collection. */
async function makeAndDispose(i) {
  const generator = new Generator("cpu", i);
  const tensor = await Tensor.randn([1 + (i % 7), 64, 64], { generator });
  const sum = await tensor.add(1);
  const data = await sum.toArray();
  const copy = Tensor.from(data, sum.shape);
  await generator.setState(await generator.getState());
  await Tensor.cat([copy, "not a tensor"]).catch(() => {});
  if (i % 2 === 0) for (const each of [tensor, sum, copy]) each.dispose();
  if (i % 20 !== 0) return;
  const posterior = await vae.encode(small);
  posterior.dispose();
  const loaded = await AutoencoderKL.fromPretrained(`${model}/vae`);
  if (i % 40 === 0) loaded.dispose();
}

// ---- workers --------------------------------------------------------------------------------------------------------

const program = `
  const { workerData, parentPort } = require("node:worker_threads");
  (async () => {
    const { Tensor, UNet2DConditionModel } = await import(workerData.library);
    const unet = await UNet2DConditionModel.fromPretrained(workerData.model);
    const [sample, context] = [await Tensor.zeros([1, 8, 32, 32]), await Tensor.zeros([1, 7, 32])];
    const compute = async () => {
      for (;;) (await unet.forward(sample, 1, context)).dispose();
    };
    compute();
    await unet.forward(sample, 1, context);
    parentPort.postMessage("computing");
    if (workerData.end === "exit") process.exit(0);
  })();
`;

async function startAndStop(i) {
  const end = i % 2 === 0 ? "terminate" : "exit";
  const workerData = { library: pathToFileURL(at("dist/index.js")).href, model: `${model}/unet`, end };
  const worker = new Worker(program, { eval: true, workerData });
  const exit = new Promise((resolve) => worker.once("exit", resolve));
  await new Promise((resolve, reject) => worker.once("message", resolve).once("error", reject));
  if (end === "terminate") await worker.terminate();
  await exit;
}

await part("edits", Number(values.edits), edit);
await part("objects", Number(values.objects), makeAndDispose);
await part("workers", Number(values.workers), startAndStop);
process.exitCode = failed ? 1 : 0;

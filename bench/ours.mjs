// One side of a comparison (see side.mjs): this package, with the quantization that the argument names. Commands come as
// one JSON object per line on standard input.

import { writeFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { cudaDevices, Generator, KandinskyV22PriorPipeline, synchronize, Tensor } from "../dist/index.js";
import { loadPipeline } from "../dist/pipelines/diffusion_pipeline.js";
import { pipelineFromClassName } from "../dist/pipelines/registry.js";
import { native } from "../dist/runtime/native.js";
import { peakBytes } from "./device.mjs";

const [quantization] = process.argv.slice(2);
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
let pipe;
let device = "cpu";

/** The time in seconds, after all queued work on the device is done. */
async function now() {
  await synchronize(device);
  return performance.now() / 1000;
}

async function nextCommand() {
  const { value, done } = await lines.next();
  if (done) process.exit(0);
  return JSON.parse(value);
}

function answer(object) {
  process.stdout.write(`${JSON.stringify(object)}\n`);
}

const randomRow = (width, seed) => Tensor.randn([1, width], { generator: new Generator("cpu", seed) });

const commands = {
  async versions({ threads, device: wanted }) {
    device = wanted;
    await native().setThreads(threads);
    const { libtorch, cpuCapability } = native().systemInfo();
    const gpu = device === "cuda" ? { gpu: cudaDevices()[0].name } : {};
    return { versions: { libtorch }, cpuCapability, threads: await native().getThreads(), ...gpu };
  },

  async load({ model, dtype, pipeline = "StableDiffusionInstructPix2PixPipeline", vaeSlicing, vaeTiling }) {
    const start = await now();
    pipe = await loadPipeline(pipelineFromClassName(pipeline), model, { device, dtype, quantization });
    pipe.vae?.enableSlicing(vaeSlicing ?? false);
    pipe.vae?.enableTiling(vaeTiling ?? false);
    return { seconds: (await now()) - start };
  },

  /** Answers after every denoising step and waits to be told to go on, so that the other side can take its turn. */
  async run({ image, embeds, args, seed, output }) {
    const given = {
      ...args,
      ...(image && { image }),
      ...(embeds && { imageEmbeds: await randomRow(embeds, 1), negativeImageEmbeds: await randomRow(embeds, 2) }),
      // A prior's results are embeddings.
      ...(!(pipe instanceof KandinskyV22PriorPipeline) && { outputType: "tensor" }),
    };
    let start = await now();
    const result = await pipe.run({
      ...given,
      generator: new Generator("cpu", seed),
      onStep: async ({ step }) => {
        answer({ step, seconds: (await now()) - start });
        const { command } = await nextCommand();
        if (command !== "continue") throw new Error(`${command} during a run`);
        start = await now();
      },
    });
    const seconds = (await now()) - start;
    const images = result.images ?? result.imageEmbeds;
    writeFileSync(output, new Uint8Array((await images.toArray()).buffer));
    const { shape } = images;
    images.dispose();
    return { done: true, seconds, shape };
  },

  /** One of the models around the denoising loop, with random input. */
  async part({ part, size }) {
    const { vae, textEncoder } = pipe;
    const random = (shape) => Tensor.randn(shape, { generator: new Generator("cpu", 1) });
    const latent = size / vae.scaleFactor;
    const input = {
      encode: () => random([1, 3, size, size]),
      decode: () => random([1, vae.config.latent_channels, latent, latent]),
      text: () => Tensor.randint(0, textEncoder.config.vocab_size, [2, textEncoder.config.max_position_embeddings]),
    };
    const call = {
      encode: (x) => vae.encode(x),
      decode: (x) => vae.decode(x),
      text: (x) => textEncoder.forward(x),
    };
    const x = await (await input[part]()).to({ device });
    const start = await now();
    await call[part](x);
    return { seconds: (await now()) - start };
  },

  async memory() {
    return { peak: await peakBytes(device) };
  },
};

while (true) {
  const { command, ...options } = await nextCommand();
  try {
    answer(await commands[command](options));
  } catch (error) {
    answer({ error: error.message });
  }
}

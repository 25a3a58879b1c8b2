import { beforeAll, expect, test, vi } from "vitest";
import { Generator } from "../../lib/core/generator.js";
import { Tensor } from "../../lib/core/tensor.js";
import { UNetCache } from "../../lib/models/unet-cache.js";
import type { EditOptions } from "../../lib/pipelines/stable_diffusion/instruct_pix2pix.js";
import { InstructPix2PixPipeline } from "../../lib/pipelines/stable_diffusion/instruct_pix2pix.js";
import { tinyModel, tinyPipeline } from "../runtime/tiny.js";

const STEPS = 6;

let pipeline: InstructPix2PixPipeline;
beforeAll(async () => {
  pipeline = await tinyPipeline();
});

/** The image of an edit, and what the UNet was asked for in each step. */
async function edit(options: Partial<EditOptions> = {}, editor = pipeline) {
  const { unet } = editor;
  const forward = unet.forward.bind(unet);
  const calls: string[] = [];
  const spy = vi.spyOn(unet, "forward").mockImplementation((sample, timestep, embeddings, given) => {
    calls.push(`${embeddings?.shape[0]} ${given?.deepFeatures}`);
    return forward(sample, timestep, embeddings, given);
  });
  const image = await Tensor.rand([1, 3, 32, 32], { generator: new Generator("cpu", 1) });
  try {
    const { images } = await editor.run({
      ...{ prompt: "make it winter", image, seed: 2, numInferenceSteps: STEPS },
      ...options,
      outputType: "tensor",
    });
    return { values: await numbers(images), calls };
  } finally {
    spy.mockRestore();
  }
}

const numbers = async (tensor: Tensor) => Array.from(await tensor.toArray(), Number);
const distance = (a: number[], b: number[]) => Math.sqrt(a.reduce((sum, x, i) => sum + (x - b[i]!) ** 2, 0) / a.length);

test("steps outside of the guidance interval compute one row", async () => {
  const all = await edit();
  expect(all.calls).toEqual(Array(STEPS).fill("3 forget"));
  const some = await edit({ guidanceInterval: [0.2, 0.6] });
  expect(some.calls.map((call) => call[0])).toEqual(["1", "1", "3", "3", "1", "1"]);
  expect(distance(some.values, all.values)).toBeGreaterThan(1e-4);
  // An empty interval gives the result of a run without guidance.
  const none = await edit({ guidanceInterval: [0, 0] });
  const unguided = await edit({ guidanceScale: 1 });
  expect(distance(none.values, unguided.values)).toBeLessThan(1e-5);
});

test("deep features are computed in every n-th step and reused in between", async () => {
  const exact = await edit();
  const cached = await edit({ deepCacheInterval: 3 });
  expect(cached.calls).toEqual(["3 keep", "3 reuse", "3 reuse", "3 keep", "3 reuse", "3 reuse"]);
  const apart = distance(cached.values, exact.values);
  expect(apart).toBeGreaterThan(1e-6);
  expect(apart).toBeLessThan(0.2);
  // Outputs cached with guidance do not fit without it.
  const both = await edit({ deepCacheInterval: 2, guidanceInterval: [0.5, 1] });
  expect(both.calls).toEqual(["1 keep", "1 reuse", "1 keep", "3 reuse", "3 keep", "3 reuse"]);
});

test("reuse in the step that computed is exact", async () => {
  const { unet } = pipeline;
  const generator = new Generator("cpu", 4);
  const sample = await Tensor.randn([2, 8, 16, 16], { generator });
  const text = await Tensor.randn([2, 7, unet.config.cross_attention_dim as number], { generator });
  using cache = new UNetCache();
  const kept = await unet.forward(sample, 100, text, { cache, deepFeatures: "keep" });
  const reused = await unet.forward(sample, 100, text, { cache, deepFeatures: "reuse" });
  expect(await numbers(reused)).toEqual(await numbers(kept));
  const smaller = await sample.slice(2, 0, 8);
  await expect(unet.forward(smaller, 100, text, { cache, deepFeatures: "reuse" })).resolves.toMatchObject({
    shape: [2, 4, 8, 16],
  });
});

test("8-bit integers in the UNet change an image slightly, also together with other options", async () => {
  using quantized = await InstructPix2PixPipeline.fromPretrained(tinyModel, { device: "cpu", quantization: "int8" });
  expect(quantized.unet.quantization).toBe("int8");
  expect(quantized.vae.quantization).toBe("none");
  for (const options of [{}, { guidanceInterval: [0.5, 1] as const, deepCacheInterval: 2 }]) {
    const apart = distance((await edit(options, quantized)).values, (await edit(options)).values);
    expect(apart).toBeGreaterThan(1e-6);
    // Without VNNI, inputs have 7 bits.
    expect(apart).toBeLessThan(0.03);
  }
});

test.each([
  { dtype: "float16", quantization: "int8" } as const,
  { device: "cuda", quantization: "int8" } as const,
  { quantization: "int4" as never },
])("a pipeline is not loaded with %j", async (options) => {
  const code = options.device === undefined ? "ERR_INVALID_ARGUMENT" : /ERR_INVALID_ARGUMENT|ERR_CUDA_UNAVAILABLE/;
  await expect(InstructPix2PixPipeline.fromPretrained("/nowhere", options)).rejects.toMatchObject({
    code: expect.stringMatching(code),
  });
});

test.each([
  { guidanceInterval: [0.5, 0.2] as const },
  { guidanceInterval: [-0.1, 1] as const },
  { guidanceInterval: [0] as never },
  { deepCacheInterval: 0 },
  { deepCacheInterval: 1.5 },
])("%j is refused", async (options) => {
  await expect(edit(options)).rejects.toMatchObject({ code: "ERR_INVALID_ARGUMENT" });
});

test("deep features without a cache are refused", async () => {
  const sample = await Tensor.zeros([1, 8, 8, 8]);
  const text = await Tensor.zeros([1, 7, pipeline.unet.config.cross_attention_dim as number]);
  await expect(pipeline.unet.forward(sample, 1, text, { deepFeatures: "keep" })).rejects.toMatchObject({
    code: "ERR_INVALID_ARGUMENT",
  });
});

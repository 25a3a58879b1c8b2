import { beforeAll, expect, test } from "vitest";
import { Generator } from "../../lib/core/generator.js";
import { Tensor } from "../../lib/core/tensor.js";
import { UNet2DConditionModel } from "../../lib/models/unet_2d_condition.js";
import { UNetCache } from "../../lib/models/unet-cache.js";
import { native } from "../../lib/runtime/native.js";
import { fixture } from "../helpers/fixtures.js";
import { relativeError } from "../kernels/operator.js";

// The first level of one has no cross-attention, that of the other begins with it.
const models = ["ip2p-tiny", "script-full"] as const;
const folders = { "ip2p-tiny": ["ip2p-tiny", "model/unet"], "script-full": ["script-full", "base/unet"] } as const;

let unets: Record<(typeof models)[number], UNet2DConditionModel>;
beforeAll(async () => {
  const load = (name: (typeof models)[number]) => UNet2DConditionModel.fromPretrained(fixture(...folders[name]));
  unets = { "ip2p-tiny": await load("ip2p-tiny"), "script-full": await load("script-full") };
});

async function inputs(unet: UNet2DConditionModel, rows: number, texts: number, [height, width] = [16, 16]) {
  const generator = new Generator("cpu", 3);
  return {
    sample: await Tensor.randn([rows, unet.config.in_channels, height!, width!], { generator }),
    text: await Tensor.randn([texts, 7, unet.config.cross_attention_dim as number], { generator }),
  };
}

test.each(models)(
  "rows of one input that differ in their text are computed as if each had its own: %s",
  async (name) => {
    const unet = unets[name];
    const { sample, text } = await inputs(unet, 2, 3, [15, 10]);
    const sampleRows = [0, 0, 1];
    const whole = await Tensor.cat(await Promise.all(sampleRows.map((row) => sample.slice(0, row, row + 1))), 0);
    const expected = await unet.forward(whole, 400, text);
    const shared = await unet.forward(sample, 400, text, { sampleRows });
    expect(shared.shape).toEqual(expected.shape);
    expect(await relativeError(shared, expected)).toBeLessThan(1e-5);
    // With as many rows as texts they are only put in order.
    const turned = await unet.forward(whole, 400, text, { sampleRows: [2, 1, 0] });
    const inOrder = await Tensor.cat(await Promise.all([2, 1, 0].map((row) => whole.slice(0, row, row + 1))), 0);
    expect(await relativeError(turned, await unet.forward(inOrder, 400, text))).toBeLessThan(1e-5);
    const timesteps = [400, 10, 800];
    expect(
      await relativeError(
        await unet.forward(sample, timesteps, text, { sampleRows }),
        await unet.forward(whole, timesteps, text),
      ),
    ).toBeLessThan(1e-5);
  },
);

test.each([[[0, 1]], [[0, 1, 2]], [[0, -1, 0]], [[0, 0.5, 0]]])(
  "rows that do not exist are refused: %j",
  async (rows) => {
    const unet = unets["ip2p-tiny"];
    const { sample, text } = await inputs(unet, 2, 3);
    await expect(unet.forward(sample, 1, text, { sampleRows: rows })).rejects.toMatchObject({
      code: "ERR_INVALID_ARGUMENT",
    });
  },
);

test.each(models)("timesteps known beforehand are embedded in one batch, others one by one: %s", async (name) => {
  const unet = unets[name];
  const { sample, text } = await inputs(unet, 2, 2);
  using cache = new UNetCache([900, 400.5, 7]);
  for (const timestep of [900, 400.5, 7, 3, 400.5])
    expect(
      await relativeError(
        await unet.forward(sample, timestep, text, { cache }),
        await unet.forward(sample, timestep, text),
      ),
      `timestep ${timestep}`,
    ).toBeLessThan(1e-6);
  const rows = [900, 7];
  expect(
    await relativeError(await unet.forward(sample, rows, text, { cache }), await unet.forward(sample, rows, text)),
  ).toBe(0);
});

test.each(models)("a text is projected once, and again when it changes: %s", async (name) => {
  const unet = unets[name];
  const { sample, text } = await inputs(unet, 2, 2);
  const { text: other } = await inputs(unet, 1, 2);
  using cache = new UNetCache();
  for (const embeddings of [text, text, other, text]) {
    const cached = await unet.forward(sample, 7, embeddings, { cache });
    expect(await relativeError(cached, await unet.forward(sample, 7, embeddings))).toBe(0);
  }
  // Another model might change it at the same time, on another device's thread.
  const twin = await UNet2DConditionModel.fromConfig(unet.config, { generator: new Generator("cpu", 9) });
  await expect(twin.forward(sample, 7, text, { cache })).rejects.toMatchObject({
    code: "ERR_INVALID_ARGUMENT",
    message: expect.stringContaining("belongs to another model"),
  });
  // What it holds is counted for as long as it does.
  const { bytes } = native().memoryUsage();
  cache.dispose();
  expect(bytes - native().memoryUsage().bytes).toBeGreaterThanOrEqual(text.size * 4);
  await unet.forward(sample, 7, text, { cache });
});

test("timesteps are a number, a list, or a tensor [], [1] or [B] of any type of numbers", async () => {
  const unet = unets[models[0]!]!;
  const { sample, text } = await inputs(unet, 2, 2);
  const numbers = async (tensor: Tensor) => Array.from(await tensor.toArray(), Number);
  const one = await numbers(await unet.forward(sample, 7, text));
  const each = await numbers(await unet.forward(sample, [7, 3], text));
  for (const dtype of ["int64", "int32", "float32", "float16", "uint8"] as const) {
    for (const shape of [[], [1]])
      expect(await numbers(await unet.forward(sample, Tensor.from([7], shape, { dtype }), text))).toEqual(one);
    expect(await numbers(await unet.forward(sample, Tensor.from([7, 3], [2], { dtype }), text))).toEqual(each);
  }
  for (const bad of [Tensor.from([7, 3, 1]), Tensor.from([7, 3], [1, 2]), Tensor.from([1], [1], { dtype: "bool" })])
    await expect(unet.forward(sample, bad, text)).rejects.toMatchObject({ code: "ERR_INVALID_ARGUMENT" });
  for (const bad of ["7", ["7"], null, {}])
    await expect(unet.forward(sample, bad as never, text)).rejects.toMatchObject({
      code: "ERR_INVALID_ARGUMENT",
      message: expect.stringMatching(/^timesteps must be a number, a list of numbers, or a Tensor, not /),
    });
});

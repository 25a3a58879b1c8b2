import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Generator } from "../../lib/core/generator.js";
import { Tensor } from "../../lib/core/tensor.js";
import type { RunLora } from "../../lib/lora/run-loras.js";
import type { AdapterWeights } from "../../lib/models/adapter-weights.js";
import { UNetCache } from "../../lib/models/unet-cache.js";
import type { JointPassInfo } from "../../lib/pipelines/batching/step-batcher.js";
import { DiffusionPipeline } from "../../lib/pipelines/diffusion_pipeline.js";
import { InstructPix2PixPipeline } from "../../lib/pipelines/stable_diffusion/instruct_pix2pix.js";
import { fixture } from "../helpers/fixtures.js";

/** What a row may differ by from the one that is computed alone, of the range of values. */
const SAME = 1e-5;
/** What it may differ by from one with the adapter in the weights. */
const MERGED = 1e-4;

const style = fixture("lora", "style.safetensors");
const other = fixture("lora", "other.safetensors");
const call = { prompt: "make it snow", image: fixture("lora", "image0.png"), numInferenceSteps: 3, seed: 3 };

async function apart(a: Tensor, b: Tensor): Promise<number> {
  expect(a.shape).toEqual(b.shape);
  const [x, y] = [await a.toArray(), await b.toArray()];
  return Array.from(x, Number).reduce((most, value, i) => Math.max(most, Math.abs(value - Number(y[i]))), 0);
}

describe("rows of a pass", () => {
  let pipe: InstructPix2PixPipeline;
  beforeAll(async () => {
    pipe = await InstructPix2PixPipeline.fromPretrained(fixture("ip2p-tiny", "model"));
    await pipe.loadLoraWeights(style, { adapterName: "style", active: false });
    await pipe.loadLoraWeights(other, { adapterName: "other", active: false });
  });
  afterAll(() => pipe.dispose());

  const random = (shape: number[], seed: number) => Tensor.randn(shape, { generator: new Generator("cpu", seed) });
  const inputs = async (rows: number) => ({
    sample: await random([rows, 8, 8, 8], 1),
    text: await random([rows, 7, Number(pipe.unet.config.cross_attention_dim)], 2),
  });

  it("have their own adapters, in the weights that they have alone", async () => {
    const { sample, text } = await inputs(5);
    const ofRow: AdapterWeights[][] = [
      [{ name: "style", rows: 1 }],
      [],
      [{ name: "style", rows: 0.5 }],
      [
        { name: "style", rows: 1 },
        { name: "other", rows: -0.7 },
      ],
      [{ name: "other", rows: 1 }],
    ];
    const adapters = ["style", "other"].map((name) => ({
      name,
      rows: ofRow.map((row) => row.find((each) => each.name === name)?.rows ?? 0) as number[],
    }));
    using together = await pipe.unet.forward(sample, 300, text, { adapters });
    using plain = await pipe.unet.forward(sample, 300, text);
    for (const [i, own] of ofRow.entries()) {
      const row = (tensor: Tensor) => tensor.slice(0, i, i + 1);
      using one = await row(together);
      using alone = await pipe.unet.forward(await row(sample), 300, await row(text), { adapters: own });
      expect(await apart(one, alone), `row ${i}`).toBeLessThan(SAME);
      await pipe.setAdapters(
        own.map(({ name }) => name),
        own.map(({ rows }) => rows as number),
      );
      using merged = await pipe.unet.forward(await row(sample), 300, await row(text));
      expect(await apart(one, merged), `row ${i}, merged`).toBeLessThan(MERGED);
      if (own.length > 0) expect(await apart(one, await row(plain)), `row ${i}, without`).toBeGreaterThan(1e-3);
      await pipe.setAdapters([]);
    }
    using after = await pipe.unet.forward(sample, 300, text);
    expect(await apart(after, plain)).toBeLessThan(SAME);
  });

  it("share the sample's rows and a cache only with their like", async () => {
    const { sample, text } = await inputs(2);
    using four = await Tensor.cat([text, text]);
    using cache = new UNetCache([300]);
    for (const rows of [
      [1, 0, 1, 0],
      [1, 0, 0, 1],
      [1, 1, 1, 1],
      [0, 0, 0, 0],
    ]) {
      const options = { adapters: [{ name: "style", rows }], sampleRows: [0, 1, 0, 1] };
      using shared = await pipe.unet.forward(sample, 300, four, { ...options, cache });
      for (const [i, weight] of rows.entries()) {
        using one = await shared.slice(0, i, i + 1);
        using own = await sample.slice(0, i % 2, (i % 2) + 1);
        using alone = await pipe.unet.forward(own, 300, await text.slice(0, i % 2, (i % 2) + 1), {
          adapters: [{ name: "style", rows: weight }],
        });
        expect(await apart(one, alone), `${rows}, row ${i}`).toBeLessThan(SAME);
      }
    }
  });

  it("are refused for adapters that are unknown, and for too few rows", async () => {
    const { sample, text } = await inputs(2);
    for (const [adapters, message] of [
      [[{ name: "absent", rows: 1 }], /no adapter "absent"/],
      [[{ name: "style", rows: [1, 0, 1] }], /3 rows, not for 2/],
      [[{ name: "style", rows: [] }], /0 rows, not for 2/],
      [[{ name: "style", rows: Number.NaN }], /numbers/],
      [
        [
          { name: "style", rows: 1 },
          { name: "style", rows: 0 },
        ],
        /twice/,
      ],
    ] as const)
      await expect(pipe.unet.forward(sample, 1, text, { adapters })).rejects.toThrow(message);
  });

  it("are those of a run's option loras, as with the adapter in the weights", async () => {
    const run = async (loras?: readonly RunLora[]) =>
      (await pipe.run({ ...call, outputType: "tensor", ...(loras && { loras }) })).images;
    using plain = await run();
    for (const loras of [
      [{ name: "style" }],
      [{ name: "style", weight: { unet: 0, textEncoder: 1 } }],
      [
        { name: "other", weight: 0.5 },
        { name: "style", weight: -1 },
      ],
    ] as RunLora[][]) {
      using beside = await run(loras);
      expect(await apart(beside, plain)).toBeGreaterThan(1e-3);
      await pipe.setAdapters(
        loras.map(({ name }) => name),
        loras.map(({ weight }) => weight ?? 1),
      );
      using merged = await run();
      await pipe.setAdapters([]);
      expect(await apart(beside, merged)).toBeLessThan(MERGED);
    }
    using again = await run();
    expect(await again.equal(plain)).toBe(true);
  });

  it("can be given adapters that are loaded during a run, and keep theirs until its end", async () => {
    let [loaded, refusal]: unknown[] = [];
    const onStep = async ({ step }: { step: number }) => {
      if (step !== 0) return;
      loaded = await pipe.loadLoraWeights(other, { adapterName: "late", active: false });
      refusal = await pipe.deleteAdapters("style").catch((error: unknown) => error);
    };
    using expected = (await pipe.run({ ...call, outputType: "tensor", loras: [{ name: "style" }], onStep })).images;
    expect({ loaded, refusal }).toMatchObject({ loaded: "late", refusal: { code: "ERR_IN_USE" } });
    using same = (await pipe.run({ ...call, outputType: "tensor", loras: [{ name: "style" }] })).images;
    expect(await same.equal(expected)).toBe(true);
    await pipe.deleteAdapters("late");
    await expect(pipe.run({ ...call, loras: [{ name: "late" }] })).rejects.toThrow(/no adapter "late"/);
    await pipe.setAdapters("style");
    await expect(pipe.run({ ...call, loras: [{ name: "style" }] })).rejects.toThrow(/active: false/);
    await pipe.setAdapters([]);
    const weight = { blocks: { up_blocks: 1 } } as never;
    await expect(pipe.run({ ...call, loras: [{ name: "style", weight }] })).rejects.toThrow(/blocks/);
  });
});

describe("runs with different adapters share passes, and each gets the image that it gets alone", () => {
  it.each([
    ["Stable Diffusion's edits", ["ip2p-tiny", "model"], style, other, {}],
    [
      "Stable Diffusion XL's edits, in all kinds of layers",
      ["sdxl-ip2p", "model"],
      fixture("lora-more", "xl-kohya.safetensors"),
      fixture("lora-more", "xl-peft.safetensors"),
      { height: 32, width: 32 },
    ],
  ] as const)("%s", async (_, model, first, second, size) => {
    using pipe = (await DiffusionPipeline.fromPretrained(fixture(...model), {
      device: "cpu",
    })) as InstructPix2PixPipeline;
    await pipe.loadLoraWeights(first, { adapterName: "first", active: false });
    await pipe.loadLoraWeights(second, { adapterName: "second", active: false });
    const image = await Tensor.rand([1, 3, 32, 32], { generator: new Generator("cpu", 1) });
    const choices: (readonly RunLora[] | undefined)[] = [
      [{ name: "first" }],
      undefined,
      [{ name: "second", weight: 0.5 }],
      [{ name: "first" }],
      [{ name: "second" }, { name: "first", weight: 0.3 }],
    ];
    const runs = choices.map((loras, seed) => ({
      ...{ prompt: "a cat", image, seed, numInferenceSteps: 5 + (seed % 3), outputType: "tensor" as const },
      ...size,
      ...(loras && { loras }),
    }));
    const alone: Tensor[] = [];
    for (const each of runs) alone.push((await pipe.run(each)).images);
    const passes: JointPassInfo[] = [];
    pipe.enableStepBatching({ onPass: (pass) => passes.push(pass) });
    const together = await Promise.all(runs.map((each) => pipe.run(each)));
    expect(Math.max(...passes.map(({ runs: count }) => count))).toBeGreaterThan(2);
    for (const [i, { images }] of together.entries()) {
      expect(await apart(images, alone[i]!), `run ${i}`).toBeLessThan(SAME);
      const { loras: __, ...without } = runs[i] as { loras?: unknown } & (typeof runs)[number];
      if (choices[i]) expect(await apart(images, (await pipe.run(without)).images)).toBeGreaterThan(1e-4);
    }
  });
});

import { readFileSync } from "node:fs";
import { afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { builtInModel, loadImage } from "../../lib/index.js";
import { DiffusionPipeline } from "../../lib/pipelines/diffusion_pipeline.js";
import { InstructPix2PixPipeline } from "../../lib/pipelines/stable_diffusion/instruct_pix2pix.js";
import { StableDiffusionImg2ImgPipeline } from "../../lib/pipelines/stable_diffusion/stable_diffusion_img2img.js";
import { native } from "../../lib/runtime/native.js";
import { createServer, type EditsPluginOptions, type ImageServer } from "../../lib/server/index.js";
import { ModelStore } from "../../lib/server/model-store.js";
import { fixture } from "../helpers/fixtures.js";

const tiny = fixture("ip2p-tiny", "model");
const text = fixture("text2img", "model");
const picture = readFileSync(fixture("lora", "image0.png")).toString("base64");
const LORAS = { style: fixture("lora", "style.safetensors"), other: fixture("lora", "other.safetensors") };

beforeAll(() => native().setThreads(1));

describe("a memory budget", () => {
  const settings = { memoryBudget: undefined, offload: false, maxBatchRows: 24 };
  const loaded = (store: ModelStore) => store.list.filter((each) => each.loaded).map(({ name }) => name);

  it("loads models when they are needed, frees those used longest ago, and waits for those in use", async () => {
    const models = { a: tiny, b: text, c: tiny };
    const sizes = new Map<string, number>();
    using all = await ModelStore.open(models, {}, settings, { onLoad: (name, bytes) => sizes.set(name, bytes) });
    expect(loaded(all)).toEqual(["a", "b", "c"]);
    expect(all.bytes).toBe([...sizes.values()].reduce((sum, bytes) => sum + bytes));

    const evicted: string[] = [];
    const memoryBudget = (sizes.get("a")! + Math.max(sizes.get("b")!, sizes.get("c")!) + 1000) / 1e9;
    const events = { onEvict: (name: string) => evicted.push(name) };
    using store = await ModelStore.open(models, {}, { ...settings, memoryBudget }, events);
    expect(loaded(store)).toEqual([]);
    expect(store.get("b").about).toMatchObject({
      class_name: "StableDiffusionPipeline",
      instructed: false,
      size: null,
    });
    for (const name of ["a", "b", "a"]) (await store.use(name, []))[Symbol.dispose]();
    expect(loaded(store)).toEqual(["a", "b"]);
    const held = await store.use("c", []);
    expect([loaded(store), evicted]).toEqual([["a", "c"], ["b"]]);
    expect(store.bytes).toBeLessThanOrEqual(memoryBudget * 1e9);

    // All are in use: the next one waits until one is not, and those behind it wait for it.
    const alsoHeld = await store.use("a", []);
    const order: string[] = [];
    const take = async (name: string, signal?: AbortSignal) => {
      const model = await store.use(name, [], signal);
      order.push(name);
      model[Symbol.dispose]();
    };
    const waiting = take("b");
    const behind = take("a");
    const leaving = new AbortController();
    const gone = take("c", leaving.signal);
    leaving.abort(new Error("left"));
    await expect(gone).rejects.toThrow("left");
    expect(order).toEqual([]);
    held[Symbol.dispose]();
    await Promise.all([waiting, behind]);
    expect(order).toEqual(["b", "a"]);
    expect(evicted).toEqual(["b", "c"]);
    alsoHeld[Symbol.dispose]();
  });

  it("refuses a model that it cannot hold", async () => {
    using store = await ModelStore.open({ a: tiny }, {}, { ...settings, memoryBudget: 1e-6 });
    await expect(store.use("a", [])).rejects.toMatchObject({ statusCode: 503, code: "ERR_OUT_OF_MEMORY" });
    expect(store.bytes).toBe(0);
  });
});

describe("a server", () => {
  let server: ImageServer;
  let url = "";
  afterEach(() => server.close());
  async function start(options: Omit<EditsPluginOptions, "host">): Promise<void> {
    server = await createServer({ port: 0, logLevel: "silent", ...options });
    url = await server.listen();
  }
  const edit = async (fields: object) => {
    const answer = await fetch(`${url}/edit`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ prompt: "make it snow", image: picture, num_inference_steps: 3, seed: 3, ...fields }),
    });
    const bytes = Buffer.from(await answer.arrayBuffer());
    if (answer.status !== 200) return { status: answer.status, ...JSON.parse(bytes.toString()).error };
    return { status: 200, data: Buffer.from((await loadImage(bytes)).data) };
  };

  it("computes concurrent requests in common passes, each with the adapters it asks for and no others", async () => {
    await start({ models: { tiny }, loras: LORAS, warmUp: true });
    const list = (await (await fetch(`${url}/v1/loras`)).json()) as { data: { id: string }[] };
    expect(list.data.map(({ id }) => id)).toEqual(["style", "other"]);
    const choices = [undefined, [{ name: "style" }], [{ name: "style", weight: 0.5 }, { name: "other" }]];
    using pipe = await InstructPix2PixPipeline.fromPretrained(tiny, { device: "cpu" });
    const expected: Buffer[] = [];
    for (const choice of choices) {
      for (const { name, weight = 1 } of (choice ?? []) as { name: keyof typeof LORAS; weight?: number }[])
        await pipe.loadLoraWeights(LORAS[name], { adapterName: name, weight });
      const image = Buffer.from(picture, "base64");
      const { images } = await pipe.run({ prompt: "make it snow", image, numInferenceSteps: 3, seed: 3, maxSize: 64 });
      expected.push(Buffer.from(images[0]!.data));
      await pipe.unloadLoraWeights();
    }
    expect(new Set(expected.map((data) => data.toString("hex"))).size).toBe(3);
    const answers = await Promise.all(
      Array.from({ length: 12 }, (_, i) => edit({ loras: choices[Math.floor(i / 2) % 3], size: "auto" })),
    );
    for (const [i, { status, data }] of answers.entries()) {
      expect(status).toBe(200);
      const worst = expected[Math.floor(i / 2) % 3]!.reduce((most, x, k) => Math.max(most, Math.abs(x - data![k]!)), 0);
      expect(worst).toBeLessThanOrEqual(1); // a level of 255, where one rounds up and the other down
    }
    const metrics = await (await fetch(`${url}/metrics`)).text();
    const count = (of: string) => Number(new RegExp(`ip2p_pass_requests_bucket{le="${of}"} (\\d+)`).exec(metrics)?.[1]);
    expect(count("\\+Inf")).toBeGreaterThan(count("1"));

    for (const [loras, message] of [
      [[{ name: "absent" }], "there is no LoRA"],
      [[{ name: "style" }, { name: "style" }], "twice"],
      [[{ name: "style", weight: "much" }], "weight"],
      ["[", "no JSON"],
      [[{ name: "style", path: "/etc" }], "name and weight"],
    ] as const)
      expect(await edit({ loras })).toMatchObject({
        status: 400,
        param: "loras",
        message: expect.stringContaining(message),
      });
  });

  it("warms up models that only paint masks", async () => {
    await start({ models: { paint: fixture("inpaint", "model") }, warmUp: true });
    const { data } = (await (await fetch(`${url}/v1/models`)).json()) as { data: { uses: string[] }[] };
    expect(data[0]!.uses).toContain("inpaint");
    const metrics = await (await fetch(`${url}/metrics`)).text();
    expect(metrics).toMatch(/^ip2p_pass_requests_count 1$/m);
    expect(metrics).toMatch(/^ip2p_weights_bytes [1-9]/m);
  });

  it("gives the same images with models that are offloaded, for which requests take turns", async () => {
    await start({ models: { tiny } });
    const plain = await Promise.all([1, 2, 3].map((seed) => edit({ seed })));
    await server.close();
    const offload = vi.spyOn(DiffusionPipeline.prototype, "enableModelCpuOffload");
    await start({ models: { tiny: { from: tiny, device: "cpu" } }, offload: true });
    expect(offload).toHaveBeenCalledExactlyOnceWith("cpu");
    offload.mockRestore();
    const offloaded = await Promise.all([1, 2, 3].map((seed) => edit({ seed })));
    for (const [i, { status, data }] of offloaded.entries()) {
      expect(status).toBe(200);
      const worst = data!.reduce(
        (most: number, x: number, k: number) => Math.max(most, Math.abs(x - plain[i]!.data![k]!)),
        0,
      );
      expect(worst).toBeLessThanOrEqual(1);
    }
    const metrics = await (await fetch(`${url}/metrics`)).text();
    expect(metrics).toMatch(/^ip2p_pass_requests_bucket\{le="1"\} 9$/m);
    expect(metrics).toMatch(/^ip2p_pass_requests_count 9$/m);
  });

  it("says which models take these adapters, also those that share their weights, and stays as it is", async () => {
    using pipe = await InstructPix2PixPipeline.fromPretrained(tiny, { device: "cpu" });
    using twin = InstructPix2PixPipeline.fromPipe(pipe);
    using other = await textPipe();
    await start({ models: { pipe, twin, other: other as never, builtIn: builtInModel }, loras: LORAS });
    const loras = [{ name: "style" }];
    expect(await edit({ loras, model: "other" })).toMatchObject({ status: 400, param: "loras" });
    expect(await edit({ loras, model: "builtIn" })).toMatchObject({ status: 400, message: /for another model/ });
    const before = await edit({ model: "builtIn" });
    expect(before.status).toBe(200);
    const plain = await edit({ model: "twin" });
    const [styled, beside] = await Promise.all([edit({ loras, model: "pipe" }), edit({ model: "twin" })]);
    expect([styled.status, beside.status]).toEqual([200, 200]);
    const apart = (a: Buffer, b: Buffer) => a.reduce((most, x, i) => Math.max(most, Math.abs(x - b[i]!)), 0);
    expect(apart(beside.data!, plain.data!)).toBeLessThanOrEqual(1);
    expect(apart(styled.data!, plain.data!)).toBeGreaterThan(1);
    expect(pipe.activeAdapters).toEqual([]);
  });

  it("gives a built-in model the guidance that suits it, unless a request says another", async () => {
    await start({ models: { drawings: builtInModel, other: tiny } });
    const { data } = (await (await fetch(`${url}/v1/models`)).json()) as { data: object[] };
    expect(data).toMatchObject([
      { id: "drawings", built_in: "world", guidance_scale: 2 },
      { id: "other", built_in: null, guidance_scale: null },
    ]);
    const image = async (more: object) => (await edit({ model: "drawings", ...more })).data!;
    const own = await image({});
    expect(own.equals(await image({ guidance_scale: 2 }))).toBe(true);
    expect(own.equals(await image({ guidance_scale: 7.5 }))).toBe(false);
  });

  const textPipe = () => StableDiffusionImg2ImgPipeline.fromPretrained(text, { device: "cpu" });
});

import { afterAll, beforeAll, expect, test, vi } from "vitest";
import type { InstructPix2PixPipeline } from "../../lib/pipelines/stable_diffusion/instruct_pix2pix.js";
import { native } from "../../lib/runtime/native.js";
import { bits, quickEdit, tinyPipeline } from "../runtime/tiny.js";

// On the CPU nothing really moves: the tests show which model is moved where and when, and that results are the same.
let pipeline: InstructPix2PixPipeline;
let plain: Buffer;
beforeAll(async () => {
  pipeline = await tinyPipeline();
  plain = await edit();
  await pipeline.enableModelCpuOffload("cpu");
});
afterAll(() => pipeline.dispose());

async function edit(more: Parameters<typeof quickEdit>[0] = {}): Promise<Buffer> {
  const { images } = await pipeline.run({
    ...quickEdit({ prompt: `number ${count++}`, ...more }),
    outputType: "tensor",
  });
  return bits(images);
}
let count = 0;

/** What happens in a run: which model is moved, and which computes. */
async function logOf(run: () => Promise<unknown>): Promise<string[]> {
  const log: string[] = [];
  const record = (name: string, model: { to(device: string): Promise<unknown> }) => {
    const to = model.to.bind(model);
    return vi.spyOn(model, "to").mockImplementation((device) => {
      log.push(`${name} moves`);
      return to(device);
    });
  };
  const computes = (name: "vaeEncode" | "vaeDecode" | "unetForward" | "clipTextForward") => {
    const call = native()[name].bind(native()) as (...args: unknown[]) => Promise<never>;
    return vi.spyOn(native(), name).mockImplementation((...args: unknown[]) => {
      log.push(name);
      return call(...args);
    });
  };
  const spies = [
    record("vae", pipeline.vae),
    record("text", pipeline.textEncoder),
    record("unet", pipeline.unet),
    ...(["vaeEncode", "vaeDecode", "unetForward", "clipTextForward"] as const).map(computes),
  ];
  try {
    await run();
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
  return log;
}

const FIRST = ["vae moves", "vaeEncode", "vae moves", "text moves", "clipTextForward", "text moves"];
const LAST = ["unet moves", "vae moves", "vaeDecode", "vae moves"];

test("a run moves the autoencoder, the text encoder, the UNet and the autoencoder again to the device, and nothing stays", async () => {
  expect(await logOf(() => edit())).toEqual([...FIRST, "unet moves", "unetForward", "unetForward", ...LAST]);
});

test("the image is the same as without offloading", async () => {
  count = 0;
  expect(await edit()).toEqual(plain);
});

test("a cached prompt needs no text encoder", async () => {
  await edit({ prompt: "known" });
  const log = await logOf(() => edit({ prompt: "known" }));
  expect(log).not.toContain("text moves");
  expect(log).toContain("unet moves");
});

test("concurrent runs take turns", async () => {
  const log = await logOf(() => Promise.all([edit(), edit()]));
  const one = [...FIRST, "unet moves", "unetForward", "unetForward", ...LAST];
  expect(log).toEqual([...one, ...one]);
});

test("a run that is stopped leaves nothing on the device, and the next one works", async () => {
  const controller = new AbortController();
  const log = await logOf(async () => {
    const stopped = edit({ signal: controller.signal, onStep: () => controller.abort() });
    await expect(stopped).rejects.toMatchObject({ code: "ERR_ABORTED" });
  });
  expect(log).toEqual([...FIRST, "unet moves", "unetForward", "unet moves"]);
  count = 0;
  expect(await edit()).toEqual(plain);
});

test("models of a moved pipeline stay on its device", async () => {
  expect(await pipeline.to("cpu")).toBe(pipeline);
  const log = await logOf(() => edit());
  expect(log.filter((line) => line.endsWith("moves"))).toEqual([]);
  await pipeline.enableModelCpuOffload("cpu");
});

test("a missing device is refused, and the pipeline works as before", async () => {
  await expect(pipeline.enableModelCpuOffload("cuda:99")).rejects.toMatchObject({ code: "ERR_CUDA_UNAVAILABLE" });
  await expect(pipeline.to("cuda:99")).rejects.toMatchObject({ code: "ERR_CUDA_UNAVAILABLE" });
  await expect(pipeline.unet.to("cuda:99")).rejects.toMatchObject({ code: "ERR_CUDA_UNAVAILABLE" });
  expect(pipeline.unet.device).toBe("cpu");
  count = 0;
  expect(await edit()).toEqual(plain);
});

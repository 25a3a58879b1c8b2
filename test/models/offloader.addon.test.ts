import { afterEach, expect, test, vi } from "vitest";
import { ModelOffloader } from "../../lib/models/offloader.js";
import { native } from "../../lib/runtime/native.js";

afterEach(() => vi.restoreAllMocks());

/** An offloader to a device that need not be there, and models that record where they are sent and when they compute. */
function recording(device = "cuda:1") {
  const log: string[] = [];
  vi.spyOn(native(), "emptyCache").mockImplementation(async (name) => void log.push(`empty ${name}`));
  const offloader = new ModelOffloader(device);
  const model = (name: string, fails: () => boolean = () => false) => {
    const moves = {
      to: async (target: string) => {
        log.push(`${name} → ${target}`);
        if (target !== "cpu" && fails()) throw new Error("out of memory");
      },
    };
    return { moves, compute: () => offloader.use(moves, async () => void log.push(`${name} computes`)) };
  };
  return { log, offloader, model };
}

test("one model at a time is on the device, and stays until another computes", async () => {
  const { log, offloader, model } = recording();
  const [vae, text, unet] = [model("vae"), model("text"), model("unet")];
  for (const each of [vae, text, unet, unet, unet, vae]) await each.compute();
  await offloader.release();
  await offloader.release();
  const there = (name: string, times = 1) => [`${name} → cuda:1`, ...Array<string>(times).fill(`${name} computes`)];
  const back = (name: string) => [`${name} → cpu`, "empty cuda:1"];
  expect(log).toEqual([
    ...[there("vae"), back("vae"), there("text"), back("text"), there("unet", 3), back("unet"), there("vae")].flat(),
    ...back("vae"),
  ]);
});

test("concurrent work takes turns, and never runs while its model is elsewhere", async () => {
  const { log, model } = recording();
  const [vae, unet] = [model("vae"), model("unet")];
  await Promise.all([vae.compute(), unet.compute(), unet.compute(), vae.compute()]);
  expect(log.filter((line) => line !== "empty cuda:1")).toEqual([
    ...["vae → cuda:1", "vae computes", "vae → cpu"],
    ...["unet → cuda:1", "unet computes", "unet computes", "unet → cpu"],
    ...["vae → cuda:1", "vae computes"],
  ]);
});

test("a model that does not fit is moved back before the next one, which works", async () => {
  let full = true;
  const { log, model } = recording();
  const [unet, text] = [model("unet", () => full), model("text")];
  await expect(unet.compute()).rejects.toThrow("out of memory");
  full = false;
  await text.compute();
  await unet.compute();
  expect(log).toEqual([
    ...["unet → cuda:1", "unet → cpu", "empty cuda:1"],
    ...["text → cuda:1", "text computes", "text → cpu", "empty cuda:1"],
    ...["unet → cuda:1", "unet computes"],
  ]);
});

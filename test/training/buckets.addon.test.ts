import { existsSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Tensor } from "../../lib/core/tensor.js";
import type { ImageSize } from "../../lib/images/pixels.js";
import { RgbImage } from "../../lib/index.js";
import { resolveOptions } from "../../lib/options/parse.js";
import { trainOptions } from "../../lib/training/options.js";
import { instructPix2PixXL } from "../../lib/training/recipes/instruct_pix2pix_sdxl/recipe.js";
import type { TrainInput } from "../../lib/training/train-input.js";
import { fixture } from "../helpers/fixtures.js";
import {
  expectError,
  fingerprint,
  stoppedAfter,
  TemporaryFolder,
  tinyOptions,
  trained,
  watch,
} from "./reliability/tiny-run.js";

let folder: TemporaryFolder;
beforeAll(async () => {
  folder = new TemporaryFolder();
  await mkdir(folder.at("pairs"));
  const shapes = [
    [48, 24],
    [24, 48],
    [32, 32],
    [50, 26],
    [24, 50],
    [30, 30],
    [100, 50],
  ] as const;
  const lines: string[] = [];
  for (const [i, [width, height]] of shapes.entries()) {
    const data = Uint8Array.from({ length: width * height * 3 }, (_, k) => (k * (i + 3)) % 256);
    await new RgbImage(width, height, data).save(folder.at("pairs", `${i}.png`));
    lines.push(JSON.stringify({ input_image: `${i}.png`, edited_image: `${i}.png`, edit_prompt: `make it ${i}` }));
  }
  // A row of a bucket of its own that cannot be used.
  writeFileSync(folder.at("pairs", "7.png"), "no image");
  lines.push(JSON.stringify({ input_image: "0.png", edited_image: "7.png", edit_prompt: "make it 7" }));
  writeFileSync(folder.at("pairs", "metadata.jsonl"), lines.join("\n"));
});
afterAll(() => folder[Symbol.dispose]());

const options = (name: string, more: Partial<TrainInput> = {}): TrainInput =>
  tinyOptions(folder.at(name), {
    ...{ trainDataDir: folder.at("pairs"), aspectRatioBuckets: true, bucketStep: 8, maxTrainSteps: 6 },
    ...{ checkpointingSteps: 2, gradientAccumulationSteps: 1 },
    ...more,
  });

test("a LoRA trained in buckets stops and resumes to the same bits, cached or not", async () => {
  const lora: Partial<TrainInput> = { lora: true, rank: 2, pretrainedModelNameOrPath: fixture("ip2p-tiny", "model") };
  const cached = { ...lora, cacheLatents: true, cacheDir: folder.at("cache") };
  const plain = await trained(options("plain", lora));
  expect(plain.result!.skippedRows).toBe(1);
  const whole = await trained(options("whole", cached));
  expect(whole.result!.skippedRows).toBe(1);
  const losses = (seen: typeof whole) => seen.records.map(({ trainLoss }) => trainLoss);
  for (const [i, loss] of losses(whole).entries()) expect(Math.abs(loss / losses(plain)[i]! - 1)).toBeLessThan(1e-5);
  // One cache for each size, and one file with the sizes of images.
  const caches = readdirSync(folder.at("cache", "latents"));
  expect(caches.filter((name) => /^latents-\w+$/.test(name))).toHaveLength(3);
  expect(caches.filter((name) => name.startsWith("sizes-"))).toHaveLength(1);

  for (const [name, more] of Object.entries({ plain: lora, whole: cached })) {
    await stoppedAfter(3, options(`${name}-parts`, more));
    await trained(options(`${name}-parts`, { ...more, resumeFromCheckpoint: "latest" }));
    expect(fingerprint(folder.at(`${name}-parts`, "checkpoint-6"))).toEqual(
      fingerprint(folder.at(name, "checkpoint-6")),
    );
  }
  const other = await watch(options("plain-parts", { ...lora, aspectRatioBuckets: false, bucketStep: 64 }));
  expect(other.error).toBeUndefined();
  const changed = await watch(options("whole-parts", { ...cached, bucketStep: 16, resumeFromCheckpoint: "latest" }));
  expect(expectError(changed, "ERR_CONFIG")).toMatch(/bucket_?[sS]tep was 8 and is 16/);
});

test("a damaged file of sizes is made anew, and --check reads the buckets' rows", async () => {
  const cacheDir = folder.at("sizes");
  const check = options("check", { cacheDir, check: true });
  expect((await trained(check)).result!.skippedRows).toBe(1);
  const [file] = readdirSync(folder.at("sizes", "latents")).filter((name) => name.endsWith(".json"));
  for (const content of ["{", "null", JSON.stringify({ key: "other", sizes: [] })]) {
    writeFileSync(folder.at("sizes", "latents", file!), content);
    expect((await trained(check)).result!.skippedRows).toBe(1);
  }
  rmSync(folder.at("sizes"), { recursive: true });
});

test("SDXL trains in buckets and is told the size of each", async () => {
  const base = { pretrainedModelNameOrPath: fixture("sdxl-script-basic", "base") };
  const seen = await trained(options("xl", { ...base, maxTrainSteps: 4, useEma: false }));
  expect(seen.records.map(({ trainLoss }) => Number.isFinite(trainLoss))).toEqual([true, true, true, true]);
  const models = await instructPix2PixXL.load(
    resolveOptions(trainOptions, { ...base, resolution: 32, cropsCoordsTopLeftH: 3 }),
    { device: "cpu", frozenDType: "float32" },
  );
  using text = await Tensor.zeros([1, 4]);
  const idsFor = async (size: ImageSize | undefined) => {
    const { addedConditions } = await models.conditions({ embeddings: text, pooled: text }, size);
    return [...(await addedConditions!.timeIds!.toArray())];
  };
  expect(await idsFor({ width: 40, height: 24 })).toEqual([24, 40, 3, 0, 24, 40]);
  expect(await idsFor(undefined)).toEqual([32, 32, 3, 0, 32, 32]);
  await models.dispose();
});

test.each([
  [{ bucketStep: 3 }, /multiples of/],
  [{ bucketStep: 64 }, /no bucket|one bucket only/],
  [{ aspectRatioBuckets: false, bucketStep: 8 }, /give aspectRatioBuckets too/],
  [{ compat: "diffusers" as const }, /compat does not cover aspectRatioBuckets/],
])("%o is refused by name", async (more, message) => {
  const seen = await watch(options("refused", more as Partial<TrainInput>));
  expect(expectError(seen, "ERR_INVALID_ARGUMENT")).toMatch(message);
  expect(existsSync(folder.at("refused", "latents"))).toBe(false);
});

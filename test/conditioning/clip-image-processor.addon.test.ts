import { readFileSync } from "node:fs";
import { beforeAll, expect, test } from "vitest";
import { CLIPImageProcessor } from "../../lib/conditioning/clip_image_processor.js";
import type { Tensor } from "../../lib/core/tensor.js";
import { loadSafetensors } from "../../lib/files/safetensors.js";
import { loadImage } from "../../lib/images/index.js";
import { deviation } from "../helpers/compare.js";
import { fixture, readJson } from "../helpers/fixtures.js";

const FOLDER = "image-processor";
const { config } = readJson<{ config: Record<string, never> }>(fixture(FOLDER, "case.json"));
const processor = new CLIPImageProcessor(config);

let expected: Record<string, Tensor>;
beforeAll(async () => {
  expected = await loadSafetensors(fixture(FOLDER, "expected.safetensors"));
});

test("puts what is transparent on white, as transformers does", async () => {
  expect(Object.keys(expected).length).toBeGreaterThan(10);
  for (const [name, theirs] of Object.entries(expected)) {
    using pixels = await processor.preprocess(readFileSync(fixture(FOLDER, name)));
    expect((await deviation(pixels, theirs)).absolute, name).toBeLessThan(1e-6);
  }
});

test("takes a loaded image as it is, without its alpha, as diffusers' load_image leaves it", async () => {
  const path = fixture(FOLDER, "RGBA.png");
  using pixels = await processor.preprocess(await loadImage(path));
  expect((await deviation(pixels, expected["RGB.png"]!)).absolute).toBeLessThan(1e-6);
  using both = await processor.preprocess([path, await loadImage(path)]);
  expect((await deviation(await both.slice(0, 0, 1), expected["RGBA.png"]!)).absolute).toBeLessThan(1e-6);
  expect(await (await both.slice(0, 1, 2)).equal(pixels)).toBe(true);
});

import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { encodePrompts } from "../../lib/conditioning/prompt.js";
import { PromptCache } from "../../lib/conditioning/prompt-cache.js";
import type { InstructPix2PixPipeline } from "../../lib/pipelines/stable_diffusion/instruct_pix2pix.js";
import { native } from "../../lib/runtime/native.js";
import { tinyPipeline } from "../runtime/tiny.js";

let pipeline: InstructPix2PixPipeline;
beforeAll(async () => {
  pipeline = await tinyPipeline();
});
afterAll(() => pipeline.dispose());

/** Counts the prompts that reach the text encoder. */
function countEncoded() {
  const { textEncoder } = pipeline;
  const forward = textEncoder.forward.bind(textEncoder);
  let count = 0;
  const spy = vi.spyOn(textEncoder, "forward").mockImplementation((ids, options) => {
    count += ids.shape[0]!;
    return forward(ids, options);
  });
  return { spy, take: () => [count, (count = 0)][0] };
}

test("a prompt is encoded once, with the text encoder's embeddings", async () => {
  const cache = new PromptCache();
  const { spy, take } = countEncoded();
  using first = await cache.encode(["make it winter", "", "make it winter"], pipeline);
  expect(first.shape[0]).toBe(3);
  expect(take()).toBe(2);
  using again = await cache.encode(["", "make it summer", "make it winter"], pipeline);
  expect(take()).toBe(1);
  using shorter = await cache.encode([""], pipeline, { length: 5 });
  expect(shorter.shape[1]).toBe(5);
  expect(take()).toBe(1);
  spy.mockRestore();
  using expected = await encodePrompts(["", "make it summer", "make it winter"], pipeline);
  const [a, b] = [await again.toArray(), await expected.toArray()];
  for (const [i, value] of Array.from(b, Number).entries()) expect(Number(a[i])).toBeCloseTo(value, 5);
  cache.clear();
});

test("the cache is bounded, and clearing it frees its embeddings", async () => {
  const cache = new PromptCache();
  const before = native().memoryUsage().objects;
  for (let i = 0; i < 80; i++) (await cache.encode([`number ${i}`], pipeline)).dispose();
  expect(native().memoryUsage().objects - before).toBe(64);
  const { spy, take } = countEncoded();
  (await cache.encode(["number 79"], pipeline)).dispose();
  expect(take()).toBe(0);
  (await cache.encode(["number 0"], pipeline)).dispose();
  expect(take()).toBe(1);
  spy.mockRestore();
  cache.clear();
  expect(native().memoryUsage().objects).toBe(before);
});

test("a text encoder whose state dict was requested is run every time", async () => {
  using other = await tinyPipeline();
  const cache = new PromptCache();
  (await cache.encode(["a"], other)).dispose();
  for (const weight of Object.values(await other.textEncoder.stateDict())) weight.dispose();
  const before = native().memoryUsage().objects;
  const forward = vi.spyOn(other.textEncoder, "forward");
  for (let i = 0; i < 2; i++) (await cache.encode(["a"], other)).dispose();
  expect(forward).toHaveBeenCalledTimes(2);
  expect(native().memoryUsage().objects).toBe(before);
  cache.clear();
});

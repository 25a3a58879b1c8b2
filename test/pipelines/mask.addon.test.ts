import { expect, test } from "vitest";
import { Tensor } from "../../lib/core/tensor.js";
import { prepareMask } from "../../lib/pipelines/mask.js";

const options = (width: number, height: number) => ({ factor: 1, size: { width, height }, allowNonFinite: false });

async function valuesOf(mask: Tensor): Promise<number[]> {
  using _ = mask;
  return Array.from((await mask.toArray()) as Float32Array);
}

test("a tensor is 1 from 0.5 on, to the last bit, and 0 below", async () => {
  const below = Math.fround(0.5 - 2 ** -25);
  const values = [-1e30, -0.1, 0, 2 ** -149, 0.25, below, 0.5, Math.fround(0.5 + 2 ** -24), 0.75, 1, 255, 1e30];
  using mask = Tensor.from(Float32Array.from(values), [3, 4]);
  const made = await prepareMask([mask], options(4, 3));
  expect([made.shape, made.dtype]).toEqual([[1, 1, 3, 4], "float32"]);
  expect(await valuesOf(made)).toEqual(values.map((value) => (value >= 0.5 ? 1 : 0)));
});

test("an image is 1 from grey 128 on", async () => {
  const data = Uint8Array.from({ length: 256 * 3 }, (_, i) => Math.floor(i / 3));
  const made = await prepareMask([{ width: 16, height: 16, data, form: "colour" }], options(16, 16));
  expect(await valuesOf(made)).toEqual(Array.from({ length: 256 }, (_, grey) => (grey >= 128 ? 1 : 0)));
});

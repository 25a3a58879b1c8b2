import { expect, test } from "vitest";
import { Tensor } from "../../lib/core/tensor.js";
import { UNet2DConditionModel } from "../../lib/models/unet_2d_condition.js";
import { native } from "../../lib/runtime/native.js";
import { tinyModel } from "./tiny.js";

const MEGABYTE = 2 ** 20;

// In its own file: garbage of other tests would be collected during the count.
test("disposed tensors are subtracted at once, and freed", async () => {
  const usage = () => native().memoryUsage();
  const start = usage();
  const tensor = await Tensor.zeros([64, MEGABYTE / 4]);
  expect(usage()).toEqual({ objects: start.objects + 1, bytes: start.bytes + 64 * MEGABYTE });
  const resident = process.memoryUsage.rss();
  tensor.dispose();
  expect(usage()).toEqual(start);
  // Kept at hand for ten seconds, for a tensor to come.
  await expect
    .poll(() => resident - process.memoryUsage.rss(), { timeout: 200_000, interval: 500 })
    .toBeGreaterThan(60 * MEGABYTE);

  const model = await UNet2DConditionModel.fromPretrained(`${tinyModel}/unet`);
  const { bytes } = usage();
  const state = Object.values(await model.stateDict());
  const parameters = state.reduce((sum, tensor) => sum + tensor.size, 0);
  for (const tensor of state) tensor.dispose();
  expect(bytes).toBe(start.bytes + 4 * parameters);
  model.dispose();
  expect(usage()).toEqual(start);
});

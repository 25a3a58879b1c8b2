import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type DType, Tensor } from "../../lib/core/tensor.js";
import { loadSafetensors, saveSafetensors } from "../../lib/files/safetensors.js";
import { UNet2DConditionModel } from "../../lib/models/unet_2d_condition.js";
import { native } from "../../lib/runtime/native.js";
import { tinyModel } from "../runtime/tiny.js";

let folder: string;
const FILE = "diffusion_pytorch_model.safetensors";
beforeAll(async () => {
  await native().setThreads(2);
  folder = mkdtempSync(join(tmpdir(), "ip2p-not-finite-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** The tiny UNet with `value` as the last element of the weights named. */
async function damaged(value: number, ...names: string[]): Promise<string> {
  const target = join(folder, `${value}-${names.length}`);
  cpSync(join(tinyModel, "unet"), target, { recursive: true });
  const weights = await loadSafetensors(join(target, FILE));
  for (const name of names) {
    const { shape } = weights[name]!;
    const values = (await weights[name]!.toArray()) as Float32Array;
    values[values.length - 1] = value;
    weights[name] = Tensor.from(values, shape);
  }
  await saveSafetensors(join(target, FILE), weights);
  return target;
}

test("a weight that is not finite is refused when it is loaded, the first of them by name, unless allowed", async () => {
  const names = ["conv_in.weight", "conv_out.bias", "mid_block.resnets.0.conv1.weight", "time_embedding.linear_1.bias"];
  for (const value of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
    const target = await damaged(value, ...names);
    await expect(UNet2DConditionModel.fromPretrained(target)).rejects.toMatchObject({
      code: "ERR_NOT_FINITE",
      message: expect.stringMatching(
        new RegExp(`${FILE}: the weight "conv_in.weight" .* float32: .*; pass allowNonFinite to`),
      ),
    });
    const model = await UNet2DConditionModel.fromPretrained(target, { allowNonFinite: true });
    model.dispose();
  }
});

test("weights are checked in their final type: values beyond float16's range are refused only there", async () => {
  const target = await damaged(1e6, "conv_out.weight");
  for (const dtype of ["float32", "bfloat16"] as const)
    (await UNet2DConditionModel.fromPretrained(target, { dtype })).dispose();
  await expect(UNet2DConditionModel.fromPretrained(target, { dtype: "float16" })).rejects.toMatchObject({
    code: "ERR_NOT_FINITE",
    message: expect.stringMatching(/"conv_out.weight" .* float16/),
  });
});

test("isFinite sees one bad element anywhere, in every type and layout", async () => {
  const finite = (tensor: Tensor) => tensor.isFinite();
  const types: DType[] = ["float64", "float32", "bfloat16", "float16"];
  for (const dtype of types)
    for (const size of [1, 7, 16384, 300_001]) {
      const values = new Float64Array(size).fill(-3e4);
      expect(await finite(Tensor.from(values, [size], { dtype }))).toBe(true);
      for (const [bad, at] of [
        [Number.NaN, size - 1],
        [Number.POSITIVE_INFINITY, 0],
        [Number.NEGATIVE_INFINITY, size >> 1],
      ] as const) {
        values.fill(-3e4)[at] = bad;
        expect(await finite(Tensor.from(values, [size], { dtype })), `${dtype} ${size} ${bad}`).toBe(false);
      }
    }
  expect(await finite(Tensor.from(Float32Array.of(3.4e38, -1e-45)))).toBe(true);
  expect(await finite(Tensor.from(Int32Array.of(2 ** 31 - 1)))).toBe(true);
  expect(await finite(await Tensor.zeros([0, 3]))).toBe(true);
  const parts = Tensor.from(Float32Array.of(1, 2, Number.NaN, 4), [2, 2]);
  expect(await finite(await parts.slice(1, 1, 2))).toBe(true);
  expect(await finite(await parts.slice(1, 0, 1))).toBe(false);
});

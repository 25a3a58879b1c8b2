import { expect, test } from "vitest";
import { Generator } from "../../lib/core/generator.js";
import { Tensor } from "../../lib/core/tensor.js";
import { resolveOptions } from "../../lib/options/parse.js";
import { native } from "../../lib/runtime/native.js";
import { trainOptions } from "../../lib/training/options.js";
import { BatchEncoder } from "../../lib/training/recipes/edit/encoder.js";
import { instructPix2Pix } from "../../lib/training/recipes/instruct_pix2pix/recipe.js";
import { fixture } from "../helpers/fixtures.js";
import { relativeError } from "../kernels/operator.js";

test.each([1, 2, 3])("images encoded in a batch equal those encoded one by one: %i pairs", async (pairs) => {
  const models = await instructPix2Pix.load(
    resolveOptions(trainOptions, { pretrainedModelNameOrPath: fixture("script-full", "base") }),
    {
      device: "cpu",
      frozenDType: "float32",
    },
  );
  const R = 16;
  const pixels = (seed: number) => Uint8Array.from({ length: pairs * R * R * 3 }, (_, i) => (i * seed * 7919) % 251);
  const rows = Array.from({ length: pairs }, (_, i) => i);
  const batch = {
    ...{ edited: pixels(1), originals: pixels(11), prompts: rows.map(() => "make it blue") },
    size: { width: R, height: R },
    ...{ indices: rows, positions: rows },
  };
  const flips = Array.from({ length: pairs }, (_, i) => i % 2 === 1);
  const encode = (separately: boolean) => new BatchEncoder(models, { separately }).encode(batch, flips);
  const [together, apart] = [await encode(false), await encode(true)];
  for (const [a, b] of [
    [together.edited.mean, apart.edited.mean],
    [together.edited.logvar, apart.edited.logvar],
    [together.original.mean, apart.original.mean],
  ] as const) {
    expect(a.shape).toEqual(b.shape);
    expect(await relativeError(a, b)).toBeLessThan(1e-5);
    // Noise like either is the same noise.
    const noise = async (tensor: Tensor) => await Tensor.randnLike(tensor, { generator: new Generator("cpu", 5) });
    expect(await native().equal((await noise(a)).handle, (await noise(b)).handle)).toBe(true);
  }
});

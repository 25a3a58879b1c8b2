import { cpSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Generator } from "../../lib/core/generator.js";
import { Tensor } from "../../lib/core/tensor.js";
import { UNet2DConditionModel } from "../../lib/models/unet_2d_condition.js";
import type { TrainerOptions } from "../../lib/training/parameter-trainer.js";
import type { TrainInput } from "../../lib/training/train-input.js";
import { type MicroBatch, Trainer } from "../../lib/training/trainer.js";
import {
  expectError,
  fingerprint,
  stoppedAfter,
  TemporaryFolder,
  tinyBase,
  tinyOptions,
  trained,
  watch,
} from "./reliability/tiny-run.js";

const BASE: TrainerOptions = {
  ...{ adamBeta1: 0.9, adamBeta2: 0.999, adamEpsilon: 1e-8, adamWeightDecay: 1e-2 },
  ...{ optimizer: "adamw", useEma: true, gradientCheckpointing: false, shadowWeights: false, mixedPrecision: null },
};
const STEPS = 3;
/** So large that nothing is clipped. */
const MAX_GRAD_NORM = 1e9;

let folder: TemporaryFolder;
beforeAll(() => {
  folder = new TemporaryFolder();
  // A copy, for weights may be mapped from the file.
  cpSync(`${tinyBase}/unet`, folder.at("unet"), { recursive: true });
});
afterAll(() => folder[Symbol.dispose]());

async function batchOf(unet: UNet2DConditionModel, seed: number): Promise<MicroBatch> {
  const generator = new Generator("cpu", seed);
  const drawn = (shape: number[]) => Tensor.randn(shape, { generator });
  return {
    sample: await drawn([2, unet.config.in_channels, 8, 8]),
    timesteps: Tensor.from(BigInt64Array.of(3n, 700n), [2]),
    conditions: { embeddings: await drawn([2, 9, unet.config.cross_attention_dim as number]) },
    target: await drawn([2, unet.config.out_channels, 8, 8]),
  };
}

const numbersOf = async (tensors: Record<string, Tensor>) =>
  Object.fromEntries(
    await Promise.all(
      Object.entries(tensors).map(async ([name, tensor]) => [name, (await tensor.toArray()).join()] as const),
    ),
  );

/** Weights, averages and moments after some steps, and the norms of the gradients. */
async function afterSteps(options: Partial<TrainerOptions>) {
  using unet = await UNet2DConditionModel.fromPretrained(folder.at("unet"));
  using trainer = await Trainer.create(unet, { ...BASE, ...options });
  const norms: number[] = [];
  for (let step = 0; step < STEPS; step++) {
    const learningRate = 1e-3 * (step + 1);
    const emaDecay = 0.3 * step;
    const update = options.releaseGradients ? { learningRate, maxGradNorm: MAX_GRAD_NORM, emaDecay } : undefined;
    (await trainer.accumulate(await batchOf(unet, step), 1, { update })).dispose();
    if (update) expect(Object.keys(await trainer.gradients())).toEqual([]);
    const { gradNorm, skipped } = await trainer.step(learningRate, MAX_GRAD_NORM, 1, emaDecay);
    expect(skipped).toBe(false);
    norms.push(gradNorm);
  }
  return {
    weights: await numbersOf(await trainer.weights()),
    averages: await numbersOf(await trainer.emaState()),
    moments: await numbersOf(await trainer.optimizerState()),
    norms,
  };
}

describe("gradients that are released", () => {
  test.each<[string, Partial<TrainerOptions>]>([
    ["AdamW", {}],
    ["gradient checkpointing", { gradientCheckpointing: true }],
    ["8-bit AdamW", { optimizer: "adamw_8bit" }],
    ["8-bit Lion", { optimizer: "lion_8bit" }],
    ["mixed precision and shadow weights", { mixedPrecision: "bfloat16", shadowWeights: true }],
    ["bfloat16 weights", { mixedPrecision: "bfloat16", bfloat16Weights: true }],
  ])("give the same bits as gradients that are kept: %s", async (_, options) => {
    const [kept, released] = [await afterSteps(options), await afterSteps({ ...options, releaseGradients: true })];
    for (const [i, norm] of kept.norms.entries()) expect(Math.abs(released.norms[i]! / norm - 1)).toBeLessThan(1e-5);
    expect(released.weights).toEqual(kept.weights);
    expect(released.averages).toEqual(kept.averages);
    expect(released.moments).toEqual(kept.moments);
  });

  test("are clipped one parameter at a time", async () => {
    using unet = await UNet2DConditionModel.fromPretrained(folder.at("unet"));
    // Without moments' scale the update of Lion would hide the clipping, that of plain descent would not: look at the moments.
    using trainer = await Trainer.create(unet, { ...BASE, adamBeta1: 0, releaseGradients: true });
    const update = { learningRate: 0, maxGradNorm: 1e-3 };
    (await trainer.accumulate(await batchOf(unet, 0), 1, { update })).dispose();
    await trainer.step(0, 1e-3);
    // With β1 = 0 the first moment is the clipped gradient.
    const moments = Object.entries(await trainer.optimizerState()).filter(([name]) => name.startsWith("exp_avg."));
    const norms = await Promise.all(
      moments.map(async ([, tensor]) => Math.hypot(...Array.from(await tensor.toArray(), Number))),
    );
    expect(Math.max(...norms)).toBeLessThan(1.001e-3);
    expect(norms.filter((norm) => norm > 0.9e-3).length).toBeGreaterThan(10);
  });

  test("change nothing if the loss is not finite", async () => {
    using unet = await UNet2DConditionModel.fromPretrained(folder.at("unet"));
    using trainer = await Trainer.create(unet, { ...BASE, releaseGradients: true });
    const before = await numbersOf(await trainer.weights());
    const batch = await batchOf(unet, 0);
    const broken = { ...batch, target: await batch.target.mul(Number.NaN) };
    const update = { learningRate: 1e-3, maxGradNorm: 1 };
    expect(await (await trainer.accumulate(broken, 1, { update })).item()).toBeNaN();
    expect(await numbersOf(await trainer.weights())).toEqual(before);
    // The next step is not disturbed.
    (await trainer.accumulate(batch, 1, { update })).dispose();
    expect(await trainer.step(1e-3, 1)).toMatchObject({ skipped: false });
    expect(await numbersOf(await trainer.weights())).not.toEqual(before);
  });

  test("need to be told how, and a step that is ended", async () => {
    using unet = await UNet2DConditionModel.fromPretrained(folder.at("unet"));
    using releasing = await Trainer.create(unet, { ...BASE, releaseGradients: true });
    const batch = await batchOf(unet, 0);
    const refused = { code: "ERR_INVALID_ARGUMENT" };
    const update = { learningRate: 1e-3, maxGradNorm: 1 };
    await expect(releasing.accumulate(batch, 1)).rejects.toMatchObject(refused);
    (await releasing.accumulate(batch, 1, { update })).dispose();
    await expect(releasing.accumulate(batch, 1, { update })).rejects.toMatchObject(refused);
    const prodigy = { ...BASE, optimizer: "prodigy", releaseGradients: true } as const;
    await expect(Trainer.create(unet, prodigy)).rejects.toMatchObject(refused);
  });
});

describe("train({ releaseGradients })", () => {
  const options = (name: string, more: Partial<TrainInput> = {}) =>
    tinyOptions(folder.at(name), {
      ...{ releaseGradients: true, gradientAccumulationSteps: 1, maxTrainSteps: 4, checkpointingSteps: 2 },
      ...more,
    });

  test("makes the run of kept gradients where nothing is clipped, and resumes to the same bits", async () => {
    const kept = await trained(options("kept", { releaseGradients: false, maxGradNorm: MAX_GRAD_NORM }));
    const whole = await trained(options("whole", { maxGradNorm: MAX_GRAD_NORM }));
    expect(whole.records.map(({ trainLoss }) => trainLoss)).toEqual(kept.records.map(({ trainLoss }) => trainLoss));
    await stoppedAfter(3, options("parts", { maxGradNorm: MAX_GRAD_NORM }));
    await trained(options("parts", { maxGradNorm: MAX_GRAD_NORM, resumeFromCheckpoint: "latest" }));
    expect(fingerprint(folder.at("parts", "checkpoint-4"))).toEqual(fingerprint(folder.at("whole", "checkpoint-4")));
  });

  test.each<[string, Partial<TrainInput>, RegExp]>([
    ["accumulation", { gradientAccumulationSteps: 2 }, /gradientAccumulationSteps must be 1/],
    ["float16", { mixedPrecision: "fp16" }, /"fp16"/],
    ["prodigy", { optimizer: "prodigy" }, /prodigy/],
    ["compat", { compat: "diffusers" }, /compat does not cover releaseGradients/],
  ])("is refused with %s", async (_, more, message) => {
    expect(expectError(await watch(options("refused", more)), "ERR_INVALID_ARGUMENT")).toMatch(message);
  });
});

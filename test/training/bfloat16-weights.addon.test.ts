import { beforeAll, describe, expect, test } from "vitest";
import { Tensor } from "../../lib/core/tensor.js";
import { native } from "../../lib/runtime/native.js";
import { restoreTensors } from "../../lib/training/named-tensors.js";
import type { TrainerOptions } from "../../lib/training/parameter-trainer.js";
import { fixture } from "../helpers/fixtures.js";
import { callOperator, relativeError } from "../kernels/operator.js";
import { neighbours, randomBits, stochasticallyRounded } from "./bfloat16-reference.js";
import { type BenchShape, TrainingBench } from "./training-bench.js";

const model = fixture("script-full", "base");
const BFLOAT16 = { bfloat16Weights: true, roundingSeed: 7 } as const;

const open = (options: Partial<TrainerOptions> = {}, shape: BenchShape = {}) =>
  TrainingBench.open(model, { ...BFLOAT16, ...options }, shape);

async function floats(tensor: Tensor): Promise<Float32Array> {
  return (await (await tensor.to({ dtype: "float32" })).toArray()) as Float32Array;
}

const VARIANTS: [string, Partial<TrainerOptions>][] = [
  ["AdamW, stochastic rounding", {}],
  ["AdamW, compensated", { weightsRounding: "compensated" }],
  ["8-bit Adam, stochastic rounding", { optimizer: "adamw_8bit" }],
  ["8-bit Adam, compensated", { optimizer: "adamw_8bit", weightsRounding: "compensated" }],
];

describe("products with bfloat16 weights are computed in float32", () => {
  const CASES = [
    { operator: "linear", x: [3, 5, 32], weight: [24, 32], y: [3, 5, 24], numbers: [] },
    { operator: "conv2d", x: [2, 16, 9, 7], weight: [12, 16, 3, 3], y: [2, 12, 5, 4], numbers: [2, 1] },
  ];
  test.each(CASES)("$operator", async ({ operator, x, weight, y, numbers }) => {
    const input = await Tensor.randn(x);
    const narrow = await (await Tensor.randn(weight)).to({ dtype: "bfloat16" });
    const bias = await Tensor.randn([weight[0]!]);
    const gradient = await Tensor.randn(y);
    const ours = await callOperator(`widened_${operator}`, [input, narrow, bias], numbers, gradient);
    const exact = await callOperator(operator, [input, await narrow.to({ dtype: "float32" }), bias], numbers, gradient);
    expect(await floats(ours.output)).toEqual(await floats(exact.output));
    expect(ours.gradients.map(({ dtype }) => dtype)).toEqual(["float32", "bfloat16", "float32"]);
    for (const i of [0, 2]) expect(await relativeError(ours.gradients[i]!, exact.gradients[i]!)).toBeLessThan(1e-6);
    // That of the weight is rounded.
    expect(await relativeError(ours.gradients[1]!, exact.gradients[1]!)).toBeLessThan(2 ** -8);
  });
});

test("weights of products and their gradients are bfloat16, everything else is float32", async () => {
  using bench = await open({ useEma: true, weightsRounding: "compensated" });
  await bench.accumulate(1);
  const weights = await bench.trainer.unet.stateDict();
  const gradients = await bench.trainer.gradients();
  const [state, ema] = [await bench.trainer.optimizerState(), await bench.trainer.emaState()];
  let narrow = 0;
  for (const [name, weight] of Object.entries(weights)) {
    const multiplies = weight.shape.length > 1;
    narrow += multiplies ? weight.shape.reduce((a, b) => a * b) : 0;
    const dtype = multiplies ? "bfloat16" : "float32";
    expect([name, weight.dtype, gradients[name]?.dtype]).toEqual([name, dtype, dtype]);
    expect([ema[name]!.dtype, state[`exp_avg.${name}`]!.dtype]).toEqual(["float32", "float32"]);
    expect(state[`remainder.${name}`]?.dtype).toBe(multiplies ? "int16" : undefined);
  }
  expect(narrow).toBeGreaterThan(100_000);
  expect(state.step!.dtype).toBe("float32");
});

test.each(["adamw", "adamw_8bit"] as const)(
  "an update is the float32 one, rounded with the step's random numbers of %s",
  async (optimizer) => {
    // The float32 trainer starts each step from the other's weights and takes its gradients.
    using bench = await open({ optimizer });
    using plain = await TrainingBench.open(model, { optimizer });
    const names = Object.keys(await bench.trainer.unet.stateDict());
    for (let step = 1; step <= 3; step++) {
      await bench.accumulate(step);
      await plain.accumulate(step);
      const [narrow, wide] = [await bench.trainer.unet.stateDict(), await plain.trainer.unet.stateDict()];
      const [given, taken] = [await bench.trainer.gradients(), await plain.trainer.gradients()];
      const moments = await plain.trainer.optimizerState();
      const { rounding_seed: _, ...same } = await bench.trainer.optimizerState();
      for (const [targets, sources] of [
        [wide, narrow],
        [taken, given],
      ])
        for (const name of Object.keys(targets!))
          await native().copyTensors(
            [targets![name]!.handle],
            [(await sources![name]!.to({ dtype: "float32" })).handle],
          );
      expect(Object.keys(same).sort()).toEqual(Object.keys(moments).sort());
      await bench.trainer.step(1e-3, 1e9);
      await plain.trainer.step(1e-3, 1e9);
      for (const [parameter, name] of names.entries()) {
        const [ours, exact] = [await floats(narrow[name]!), await floats(wide[name]!)];
        if (narrow[name]!.dtype === "float32") {
          expect(ours, name).toEqual(exact);
          continue;
        }
        // The reference is slow: the first, the last, and some between them.
        const stride = 1 + Math.floor(exact.length / 50);
        for (const i of [...exact.keys()].filter((i) => i % stride === 0 || i === exact.length - 1))
          expect(ours[i], `${name} ${i}`).toBe(
            stochasticallyRounded(exact[i]!, randomBits({ seed: 7, parameter, step }, i)),
          );
      }
    }
  },
);

test.each(VARIANTS)("%s: the same bits with any number of threads", async (_, options) => {
  const threads = await native().getThreads();
  const train = async (ofUpdates: number) => {
    using bench = await open({ ...options, useEma: true });
    for (let step = 1; step <= 3; step++) {
      await native().setThreads(1);
      await bench.accumulate(step);
      await native().setThreads(ofUpdates);
      await bench.trainer.step(1e-3, 1e9, 1, 0.9);
    }
    return await bench.everything();
  };
  try {
    expect(await train(3)).toEqual(await train(1));
  } finally {
    await native().setThreads(threads);
  }
});

test.each(VARIANTS)("%s: a restored trainer goes on bit for bit", async (_, options) => {
  using bench = await open({ ...options, useEma: true });
  const step = async (on: TrainingBench, seed: number) => {
    await on.accumulate(seed);
    await on.trainer.step(1e-3, 1, 1, 0.9);
  };
  for (let seed = 1; seed <= 3; seed++) await step(bench, seed);
  // The seed of its rounding comes with the state.
  using restored = await open({ ...options, useEma: true, roundingSeed: 8 });
  for (const part of ["optimizerState", "emaState"] as const)
    await restoreTensors(await restored.trainer[part](), await bench.trainer[part](), part);
  await restoreTensors(await restored.trainer.weights(), await bench.trainer.weights(), "weights");
  for (const on of [bench, restored]) for (let seed = 4; seed <= 6; seed++) await step(on, seed);
  expect(await restored.everything()).toEqual(await bench.everything());
});

test("gradient checkpointing gives the same loss, and the same gradients up to rounding", async () => {
  using kept = await open();
  using again = await open({ gradientCheckpointing: true });
  expect(await again.accumulate(1)).toBe(await kept.accumulate(1));
  const [ours, theirs] = [await again.trainer.gradients(), await kept.trainer.gradients()];
  for (const [name, gradient] of Object.entries(ours))
    expect(await relativeError(gradient, theirs[name]!), name).toBeLessThan(
      gradient.dtype === "float32" ? 1e-4 : 2 ** -8,
    );
});

test.each(VARIANTS)("%s: a step whose gradients are not finite changes nothing", async (_, options) => {
  using bench = await open(options);
  await bench.accumulate(1);
  await bench.trainer.step(1e-3, 1);
  const before = await bench.everything();
  await bench.accumulate(2, Number.POSITIVE_INFINITY);
  expect(await bench.trainer.step(1e-3, 1)).toMatchObject({ skipped: true });
  expect(await bench.everything()).toEqual(before);
});

test("EMA weights take the place of bfloat16 ones and give it back", async () => {
  using bench = await open({ useEma: true });
  await bench.accumulate(1);
  await bench.trainer.step(1e-3, 1, 1, 0.5);
  const before = await bench.everything();
  const dtype = await bench.trainer.withEma(async () => {
    const { sample, timesteps, conditions } = await bench.batch(2);
    const prediction = await bench.trainer.unet.forward(sample, timesteps, conditions.embeddings!);
    expect((await floats(prediction)).every(Number.isFinite)).toBe(true);
    return (await bench.trainer.unet.stateDict())["conv_in.weight"]!.dtype;
  });
  expect(dtype).toBe("float32");
  expect(await bench.everything()).toEqual(before);
  await bench.accumulate(2);
  await bench.trainer.step(1e-3, 1, 1, 0.5);
});

describe("trains like float32", () => {
  const STEPS = 60;
  const curve = async (options: Partial<TrainerOptions>): Promise<number[]> => {
    using bench = await TrainingBench.open(model, options, { batch: 2, side: 4 });
    const losses: number[] = [];
    for (let step = 1; step <= STEPS; step++) {
      // Six batches again and again: something that can be learned.
      losses.push(await bench.accumulate(1 + (step % 6)));
      await bench.trainer.step(1e-3, 1);
    }
    return losses;
  };
  const mean = (losses: number[]) => losses.reduce((sum, loss) => sum + loss, 0) / losses.length;
  let exact: number[];
  beforeAll(async () => {
    exact = await curve({});
  });

  test.each([
    ...VARIANTS,
    ["AdamW in mixed precision", { mixedPrecision: "bfloat16" }] as [string, Partial<TrainerOptions>],
  ])("%s", async (_, options) => {
    const ours = await curve({ ...BFLOAT16, ...options });
    expect(mean(ours.slice(-6))).toBeLessThan(0.8 * mean(ours.slice(0, 6)));
    for (let start = 0; start < STEPS; start += 30) {
      const [a, b] = [exact, ours].map((losses) => mean(losses.slice(start, start + 30)));
      expect(Math.abs(b! / a! - 1)).toBeLessThan(0.05);
    }
  });

  test("updates far below a bfloat16 step add up", async () => {
    // Each moves a weight by about 1e-5 of values around 0.1, where neighbours are 5e-4 apart.
    const travelled = async (options: Partial<TrainerOptions>) => {
      using bench = await TrainingBench.open(model, { adamWeightDecay: 0, ...options }, { batch: 2, side: 4 });
      const before: Record<string, Float32Array> = {};
      const weights = await bench.trainer.unet.stateDict();
      for (const [name, tensor] of Object.entries(weights)) before[name] = await floats(tensor);
      for (let step = 1; step <= 15; step++) {
        await bench.accumulate(1);
        await bench.trainer.step(1e-5, 1);
      }
      const moved: number[] = [];
      for (const [name, tensor] of Object.entries(weights))
        if (tensor.shape.length > 1)
          for (const [i, after] of (await floats(tensor)).entries()) moved.push(after - before[name]![i]!);
      return moved;
    };
    const exact = await travelled({});
    const product = (a: number[], b: number[]) => a.reduce((sum, x, i) => sum + x * b[i]!, 0);
    for (const weightsRounding of ["stochastic", "compensated"] as const) {
      const ours = await travelled({ ...BFLOAT16, weightsRounding });
      // The part of the way in float32 that was gone: the projection onto it.
      expect(product(ours, exact) / product(exact, exact)).toBeCloseTo(1, 1);
    }
    expect(Math.abs(neighbours(0.1)[1] - neighbours(0.1)[0])).toBeGreaterThan(15 * 1e-5);
  });
});

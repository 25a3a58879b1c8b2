import { describe, expect, test } from "vitest";
import type { Tensor } from "../../lib/core/tensor.js";
import { fixture } from "../helpers/fixtures.js";
import { AdamW8bit, BLOCK, dynamicMap, nearestCode } from "./adamw-8bit-reference.js";
import { TrainingBench } from "./training-bench.js";

describe("the 8-bit data type", () => {
  test.each([true, false])("has 256 different values from zero to one, signed: %s", (signed) => {
    const map = dynamicMap(signed);
    expect(map).toHaveLength(256);
    expect(new Set(map).size).toBe(256);
    expect([map[0], map[255]]).toEqual([signed ? -0.992968738079071 : 0, 1]);
    // bitsandbytes: create_dynamic_map(signed)
    const middle = signed ? [map[126], map[127], map[128]] : [map[0], map[1], map[2]];
    expect(middle).toEqual((signed ? [-5.5e-7, 0, 5.5e-7] : [0, 3.25e-7, 7.75e-7]).map(Math.fround));
  });
});

describe("8-bit AdamW equals a reference implementation of its paper", () => {
  test.each([
    ["as usual", { learningRate: 1e-3, maxGradNorm: 1 }],
    ["with large steps and hardly any clipping", { learningRate: 3e-2, maxGradNorm: 1e6 }],
  ])("%s", async (_, { learningRate, maxGradNorm }) => {
    using bench = await TrainingBench.open(fixture("script-full", "base"), { optimizer: "adamw_8bit" });
    const weights = await bench.trainer.unet.stateDict();
    const reference = new AdamW8bit({ beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 1e-2 });
    for (const [name, tensor] of Object.entries(weights)) reference.add(name, await numbers(tensor));
    expect(reference.quantized.size).toBeGreaterThan(3);
    expect(reference.quantized.size).toBeLessThan(Object.keys(weights).length);

    for (let step = 1; step <= 4; step++) {
      await bench.accumulate(step);
      const gradients = await bench.trainer.gradients();
      const given: Record<string, Float32Array> = {};
      for (const [name, gradient] of Object.entries(gradients)) given[name] = await numbers(gradient);
      const { gradNorm } = await bench.trainer.step(learningRate, maxGradNorm);
      const clip = Math.fround(Math.min(1, maxGradNorm / (gradNorm + 1e-6)));
      reference.step(given, learningRate, Math.fround(1 / clip));

      const state = await bench.trainer.optimizerState();
      let [codes, off] = [0, 0];
      for (const [name, tensor] of Object.entries(weights)) {
        const theirs = reference.parameters.get(name)!;
        const ours = await numbers(tensor);
        expect(largestDifference(ours, theirs.weights), name).toBeLessThan(learningRate * 1e-3);
        // Each step is compared by itself: one moment that was rounded otherwise would be felt in all that follow.
        theirs.weights.set(ours);
        if (!theirs.blocks) {
          expect(state[`exp_avg_absmax.${name}`]).toBeUndefined();
          continue;
        }
        const moments = { exp_avg: theirs.first, exp_avg_sq: theirs.second };
        for (const [which, moment] of Object.entries(moments)) {
          const stored = state[`${which}.${name}`]!;
          expect(stored.dtype).toBe("uint8");
          const bytes = Uint8Array.from(await stored.toArray(), Number);
          const scales = await numbers(state[`${which}_absmax.${name}`]!);
          expect(scales).toHaveLength(Math.ceil(bytes.length / BLOCK));
          const deviations = scales.map((scale, i) => Math.abs(scale - moment.scales[i]!) / (scale || 1));
          expect(Math.max(...deviations), `${which} ${name}`).toBeLessThan(1e-5);
          const distances = bytes.map((code, i) => Math.abs(code - moment.codes[i]!));
          // Rounding in the last place can tip a number over the edge between two codes, not further.
          expect(
            distances.reduce((most, x) => Math.max(most, x), 0),
            `${which} ${name}`,
          ).toBeLessThanOrEqual(1);
          codes += bytes.length;
          off += distances.reduce((sum, x) => sum + x, 0);
          moment.codes.set(bytes);
          moment.scales.set(scales);
        }
      }
      expect(codes).toBeGreaterThan(100_000);
      expect(off / codes).toBeLessThan(1e-4);
    }
  });

  test("a step whose gradients are not finite changes nothing", async () => {
    using bench = await TrainingBench.open(fixture("script-full", "base"), { optimizer: "adamw_8bit" });
    await bench.accumulate(1);
    await bench.trainer.step(1e-3, 1);
    const before = await bench.everything();
    await bench.accumulate(2, Number.POSITIVE_INFINITY);
    expect(await bench.trainer.step(1e-3, 1)).toMatchObject({ skipped: true });
    expect(await bench.everything()).toEqual(before);
  });
});

test("values are rounded to the nearest code", () => {
  for (const signed of [true, false]) {
    const map = dynamicMap(signed);
    for (let i = 0; i < 2000; i++) {
      const x = Math.fround((signed && Math.random() < 0.5 ? -1 : 1) * 10 ** (-7 * Math.random()));
      const nearest = map.reduce(
        (best, value, code) => (Math.abs(value - x) < Math.abs(map[best]! - x) ? code : best),
        0,
      );
      expect(Math.abs(map[nearestCode(map, x)]! - x)).toBeCloseTo(Math.abs(map[nearest]! - x), 12);
    }
  }
});

test("8-bit and 32-bit AdamW train alike", async () => {
  const STEPS = 60;
  const curve = async (use8bitAdam: boolean): Promise<number[]> => {
    using bench = await TrainingBench.open(
      fixture("script-full", "base"),
      { optimizer: use8bitAdam ? "adamw_8bit" : "adamw" },
      { batch: 2, side: 4 },
    );
    const losses: number[] = [];
    for (let step = 1; step <= STEPS; step++) {
      // Eight batches again and again: something that can be learned.
      losses.push(await bench.accumulate(1 + (step % 8)));
      await bench.trainer.step(1e-3, 1);
    }
    return losses;
  };
  const [plain, quantized] = [await curve(false), await curve(true)];
  const mean = (losses: number[]) => losses.reduce((sum, loss) => sum + loss, 0) / losses.length;
  // It has learned something, and equally much at all times.
  expect(mean(plain.slice(-8))).toBeLessThan(0.7 * mean(plain.slice(0, 8)));
  for (let start = 0; start < STEPS; start += 30) {
    const [a, b] = [plain, quantized].map((losses) => mean(losses.slice(start, start + 30)));
    expect(Math.abs(b! - a!) / plain[0]!, `steps ${start} to ${start + 30}: ${a} and ${b}`).toBeLessThan(0.01);
  }
});

async function numbers(tensor: Tensor): Promise<Float32Array> {
  return Float32Array.from(await tensor.toArray(), Number);
}

function largestDifference(a: Float32Array, b: Float32Array): number {
  return a.reduce((largest, x, i) => Math.max(largest, Math.abs(x - b[i]!)), 0);
}

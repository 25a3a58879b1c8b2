import { describe, expect, test } from "vitest";
import { Generator } from "../../lib/core/generator.js";
import { Tensor } from "../../lib/core/tensor.js";
import { callOperator } from "../kernels/operator.js";
import { type Draw, neighbours, philox, randomBits, stochasticallyRounded } from "./bfloat16-reference.js";

async function rounded(x: Float32Array, { seed, parameter, step }: Draw, first = 0): Promise<Float32Array> {
  const { output } = await callOperator(
    "stochastic_rounding",
    [Tensor.from(x, [x.length])],
    [seed, parameter, step, first],
  );
  expect(output.dtype).toBe("bfloat16");
  return (await (await output.to({ dtype: "float32" })).toArray()) as Float32Array;
}

/** Numbers of all magnitudes, from a fixed seed. */
async function numbers(count: number, seed = 1): Promise<Float32Array> {
  const generator = new Generator("cpu", seed);
  const normal = (await (await Tensor.randn([count], { generator })).toArray()) as Float32Array;
  return normal.map((x, i) => x * 10 ** ((i % 60) - 30));
}

test("the reference gives the published results of Philox4x32-10", () => {
  // Random123's kat_vectors.
  expect(philox([0, 0, 0, 0], [0, 0])).toEqual([0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
  expect(philox([0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0])).toEqual([
    0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1,
  ]);
});

describe("stochastic rounding", () => {
  test.each([
    { seed: 0, parameter: 0, step: 1 },
    { seed: 2 ** 53 - 1, parameter: 685, step: 15_000 },
  ])("equals the reference bit for bit: %o", async (draw) => {
    for (const count of [1, 63, 64, 1000]) {
      const x = await numbers(count);
      expect(await rounded(x, draw)).toEqual(x.map((value, i) => stochasticallyRounded(value, randomBits(draw, i))));
    }
  });

  test("in parts equals the whole, also beyond 2³² counters", async () => {
    const draw = { seed: 42, parameter: 3, step: 7 };
    const x = await numbers(640);
    const whole = await rounded(x, draw);
    expect(await rounded(x.slice(192), draw, 192)).toEqual(whole.slice(192));
    const far = 2 ** 36 + 64;
    const there = await rounded(x.slice(0, 128), draw, far);
    expect(there).toEqual(x.slice(0, 128).map((value, i) => stochasticallyRounded(value, randomBits(draw, far + i))));
  });

  test("is unbiased: the mean is the number, and the two neighbours have its probabilities", async () => {
    const COUNT = 1 << 17;
    for (const x of [1 + 2 ** -9, -1.7001, 0.0203, 3e-8, 1e-39].map(Math.fround)) {
      const [inner, outer] = neighbours(x);
      const results = await rounded(new Float32Array(COUNT).fill(x), { seed: 5, parameter: 1, step: 2 });
      const ups = results.reduce((sum, value) => sum + Number(value === outer), 0);
      expect(results.every((value) => value === inner || value === outer)).toBe(true);
      const probability = (x - inner) / (outer - inner);
      const deviation = Math.sqrt(COUNT * probability * (1 - probability));
      expect(Math.abs(ups - COUNT * probability)).toBeLessThan(4 * deviation);
    }
  });

  test("keeps what bfloat16 holds, and what cannot be rounded up", async () => {
    const largest = 3.3895313892515355e38;
    const exact = Float32Array.of(0, -0, 1, -2.5, 2 ** -133, largest, Infinity, -Infinity, NaN);
    for (let step = 0; step < 20; step++) {
      const draw = { seed: 1, parameter: 0, step };
      expect(await rounded(exact, draw)).toEqual(exact);
      expect(await rounded(Float32Array.of(3.4e38, -3.4e38), draw)).toEqual(Float32Array.of(largest, -largest));
    }
  });

  test("draws independently for every seed, parameter and step", async () => {
    const COUNT = 1 << 14;
    const x = new Float32Array(COUNT).fill(Math.fround(1 + 2 ** -8));
    const base = { seed: 9, parameter: 4, step: 8 };
    const one = await rounded(x, base);
    for (const other of [
      { ...base, seed: 10 },
      { ...base, parameter: 5 },
      { ...base, step: 9 },
    ]) {
      const two = await rounded(x, other);
      const equal = one.reduce((sum, value, i) => sum + Number(value === two[i]), 0);
      expect(Math.abs(equal - COUNT / 2)).toBeLessThan(4 * Math.sqrt(COUNT / 4));
    }
  });
});

describe("compensated rounding", () => {
  async function remembered(x: Float32Array): Promise<{ kept: Float32Array; sum: Float32Array }> {
    const { output } = await callOperator("compensated_rounding", [Tensor.from(x, [x.length])]);
    const both = (await output.toArray()) as Float32Array;
    return { kept: both.slice(0, x.length), sum: both.slice(x.length) };
  }

  test("keeps the nearest number, and with the remainder every bit", async () => {
    const x = Float32Array.from([...(await numbers(5000)), 0, -0, 3.4e38, Infinity, -Infinity, NaN, 2 ** -149]);
    const { kept, sum } = await remembered(x);
    expect(new Uint32Array(sum.buffer)).toEqual(new Uint32Array(x.buffer));
    for (let i = 0; i < 5000; i++) {
      const [inner, outer] = neighbours(x[i]!);
      const farther = Math.abs(x[i]! - inner) < Math.abs(outer - x[i]!) ? outer : inner;
      expect(Math.abs(kept[i]! - x[i]!)).toBeLessThanOrEqual(Math.abs(farther - x[i]!));
    }
  });

  test("keeps a sum of small numbers that rounding to bfloat16 loses", async () => {
    const starts = [1, -0.75, 0.02, 300];
    const increments = starts.map((start, i) => Math.fround(start * (i % 2 ? -1 : 1) * 1e-5 * (1 + i / 3)));
    const exact = [...starts];
    let [sums, kept] = [Float32Array.from(starts), Float32Array.from(starts)];
    for (let step = 0; step < 1000; step++) {
      for (const [i, increment] of increments.entries()) exact[i]! += increment;
      const result = await remembered(sums.map((sum, i) => sum + increments[i]!));
      [sums, kept] = [result.sum as Float32Array<ArrayBuffer>, result.kept as Float32Array<ArrayBuffer>];
    }
    for (const [i, value] of kept.entries()) {
      // No increment alone reaches half the distance to a neighbour: rounding to the nearest would stay at the start.
      const [inner, outer] = neighbours(starts[i]!);
      expect(Math.abs(increments[i]!)).toBeLessThan(Math.abs(outer - inner) / 4);
      expect(Math.abs(sums[i]! / exact[i]! - 1)).toBeLessThan(1000 * 2 ** -24);
      expect(Math.abs(value / exact[i]! - 1)).toBeLessThan(2 ** -8);
    }
  });
});

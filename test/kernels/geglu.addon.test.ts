import { describe, expect, test } from "vitest";
import { type DType, Tensor } from "../../lib/core/tensor.js";
import { compare, expectAsExactAsPlain, INSTRUCTION_SETS, type OperatorCase } from "./comparison.js";
import { callOperator } from "./operator.js";

const SHAPES = [[2], [6], [3, 30], [2, 5, 34], [2, 3, 4, 64], [1, 7, 2560]];

const CASES: OperatorCase[] = SHAPES.flatMap((shape) =>
  (["float32", "bfloat16"] as DType[]).map((dtype) => ({
    operator: "geglu",
    numbers: [],
    inputs: [{ shape, dtype, mean: -0.3 }],
  })),
);

/** gelu(x) and its derivative, from erfc by its continued fraction (|x| > 2) or series: good to 1e-14. */
function exactGelu(x: number): { value: number; derivative: number } {
  const t = Math.abs(x);
  const density = Math.exp((-t * t) / 2) / Math.sqrt(2 * Math.PI);
  let tail: number;
  if (t > 3) {
    let fraction = t;
    for (let n = 80; n > 0; n--) fraction = t + n / fraction;
    tail = density / fraction;
  } else {
    let [term, sum] = [t, t];
    for (let n = 1; n < 80; n++) sum += term *= (t * t) / (2 * n + 1);
    tail = 0.5 - density * sum;
  }
  const cumulative = x > 0 ? 1 - tail : tail;
  return { value: x * cumulative, derivative: cumulative + x * density };
}

/** The gates' activation and its derivative: of 1 · gelu(x) the second half of the gradient. */
async function gelu(gates: readonly number[]): Promise<{ values: number[]; derivatives: number[] }> {
  const row = [...gates.map(() => 1), ...gates];
  const ones = await Tensor.full([gates.length], 1);
  const { output, gradients } = await callOperator("geglu", [Tensor.from(row)], [], ones);
  const gradient = [...(await gradients[0]!.toArray())].map(Number);
  return { values: [...(await output.toArray())].map(Number), derivatives: gradient.slice(gates.length) };
}

describe("the gate, forward and backward", () => {
  for (const set of INSTRUCTION_SETS)
    test(`is as exact as libtorch's with ${set}`, async () => {
      const results = await compare(set, CASES);
      expectAsExactAsPlain(CASES, results);
      expect(results.at(-1)!.identical).toBe(false);
    });

  test("is libtorch's own on an unknown processor", async () => {
    const results = await compare("none", CASES);
    expect(results.map(({ identical }) => identical)).toEqual(CASES.map(() => true));
  });

  test("has a small relative error everywhere, also where the gate is almost zero", async () => {
    const gates = Array.from({ length: 4001 }, (_, i) => Math.fround((i - 2500) / 250));
    const { values, derivatives } = await gelu(gates);
    for (const [i, x] of gates.entries()) {
      const { value, derivative } = exactGelu(x);
      expect(Math.abs(values[i]! - value), `gelu(${x})`).toBeLessThanOrEqual(3e-6 * Math.abs(value));
      expect(Math.abs(derivatives[i]! - derivative), `gelu'(${x})`).toBeLessThanOrEqual(5e-7);
    }
  });

  test("keeps NaN and infinity, and is 0 far below", async () => {
    const { values } = await gelu([Number.NaN, Number.POSITIVE_INFINITY, -1e30, -1000, -20, 1000, 0]);
    expect(values[0]).toBeNaN();
    expect(values[1]).toBe(Number.POSITIVE_INFINITY);
    for (const value of values.slice(2, 5)) expect(Math.abs(value)).toBeLessThan(1e-35);
    expect(values[5]).toBe(1000);
    expect(values[6]).toBeCloseTo(0, 20);
  });

  test("accepts rows that are not contiguous", async () => {
    const maps = await Tensor.randn([2, 6, 8]);
    const { output: permuted } = await callOperator("channels_last", [maps]);
    const [own, plain] = [await callOperator("geglu", [permuted]), await callOperator("geglu_plain", [maps])];
    const expected = await plain.output.toArray();
    for (const [i, value] of (await own.output.toArray()).entries()) expect(value).toBeCloseTo(Number(expected[i]), 5);
  });

  test("accepts everything that libtorch accepts", async () => {
    const empty = await Tensor.zeros([0, 4]);
    expect((await callOperator("geglu", [empty])).output.shape).toEqual([0, 2]);
  });

  test("composed of libtorch's operators, as CUDA can have it, has the numbers of libtorch's own derivative", async () => {
    for (const dtype of ["float32", "bfloat16", "float16"] as DType[])
      for (const shape of [[2], [3, 30], [2, 5, 34]]) {
        const [x, dy] = [
          await Tensor.randn(shape, { dtype }),
          await Tensor.randn([...shape.slice(0, -1), shape.at(-1)! / 2], { dtype }),
        ];
        const expected = await callOperator("geglu_plain", [x], [], dy);
        const { output } = await callOperator("geglu_composed", [x]);
        expect(await output.equal(expected.output)).toBe(true);
        const { output: gradient } = await callOperator("geglu_composed_backward", [dy, x]);
        expect(await gradient.equal(expected.gradients[0]!)).toBe(true);
      }
  });
});

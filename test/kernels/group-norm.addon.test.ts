import { describe, expect, test } from "vitest";
import { Generator } from "../../lib/core/generator.js";
import { type DType, Tensor } from "../../lib/core/tensor.js";
import { native } from "../../lib/runtime/native.js";
import { caseName, compare, expectAsExactAsPlain, INSTRUCTION_SETS, type OperatorCase } from "./comparison.js";
import { callOperator } from "./operator.js";

const SHAPES: [shape: number[], groups: number][] = [
  [[2, 8, 3, 5], 2],
  [[2, 12, 5, 3], 4],
  [[1, 36, 7, 7], 36],
  [[2, 24, 15], 3],
  [[1, 320, 8, 8], 32],
  [[1, 640, 3, 5], 32],
  [[2, 960, 1, 1], 32],
  [[1, 1280, 1, 3], 32],
  [[1, 2560, 2, 2], 32],
  [[1, 32, 64, 64], 2],
  [[1, 20, 5, 205], 5],
];
const LAYOUTS = ["contiguous", "channels-last"] as const;
const TYPES: [x: DType, parameters: DType][] = [
  ["float32", "float32"],
  ["bfloat16", "bfloat16"],
  ["bfloat16", "float32"],
];

function normCase(
  operator: string,
  shape: number[],
  groups: number,
  layout: OperatorCase["layout"],
  [dtype, parameters]: [DType, DType],
): OperatorCase {
  const [B, C] = shape as [number, number];
  const inputs = [
    { shape, dtype, mean: 0.5 },
    { shape: [C], dtype: parameters, mean: 1 },
    { shape: [C], dtype: parameters },
  ];
  if (operator.endsWith("shift")) inputs.push({ shape: [B, C], dtype, mean: 0 });
  return { operator, numbers: [groups, 1e-5], inputs, layout };
}

const CASES = ["group_norm", "group_norm_silu", "group_norm_silu_shift"].flatMap((operator) =>
  SHAPES.flatMap(([shape, groups]) =>
    LAYOUTS.flatMap((layout) => TYPES.map((types) => normCase(operator, shape, groups, layout, types))),
  ),
);

describe("group norm, forward and backward", () => {
  for (const set of INSTRUCTION_SETS)
    test(`is as exact as libtorch's with ${set}, in the layout of the input`, async () => {
      const results = await compare(set, CASES);
      expectAsExactAsPlain(CASES, results);
      // Where there is one pixel both layouts are the same.
      for (const [i, { layout, inputs }] of CASES.entries())
        if (inputs[0]!.shape.slice(2).some((size) => size > 1))
          expect(results[i]!.channelsLast, caseName(CASES[i]!)).toEqual(Array(2).fill(layout === "channels-last"));
      const silu = results.filter((_, i) => CASES[i]!.operator !== "group_norm");
      expect(silu.filter(({ identical }) => identical)).toEqual([]);
    });

  test("is libtorch's own on an unknown processor", async () => {
    const results = await compare("none", CASES.slice(0, 12));
    expect(results.map(({ identical }) => identical)).toEqual(Array(12).fill(true));
  });

  test("is accurate if the mean is large compared to the deviation", async () => {
    const cases = LAYOUTS.flatMap((layout) =>
      ["group_norm", "group_norm_silu_shift"].map((operator) => {
        const one = normCase(operator, [2, 64, 24, 24], 8, layout, ["float32", "float32"]);
        return { ...one, inputs: [{ ...one.inputs[0]!, mean: 1000 }, ...one.inputs.slice(1)] };
      }),
    );
    for (const set of INSTRUCTION_SETS)
      for (const [i, { own }] of (await compare(set, cases)).entries()) {
        expect(own[0], caseName(cases[i]!)).toBeLessThan(1e-6);
        for (const error of own.slice(1)) expect(error, caseName(cases[i]!)).toBeLessThan(3e-5);
      }
  });

  test("accepts a gradient in the other memory layout", async () => {
    const cases = LAYOUTS.map((layout, i) => ({
      ...normCase("group_norm_silu", [2, 24, 5, 7], 3, layout, ["float32", "float32"]),
      gradientLayout: LAYOUTS[1 - i]!,
    }));
    expectAsExactAsPlain(cases, await compare(INSTRUCTION_SETS[0]!, cases));
  });

  test("does not depend on the number of threads", async () => {
    const random = (shape: number[], seed: number) => Tensor.randn(shape, { generator: new Generator("cpu", seed) });
    const shape = [2, 64, 24, 40];
    const contiguous = await random(shape, 1);
    const { output: channelsLast } = await callOperator("channels_last", [contiguous]);
    for (const x of [contiguous, channelsLast]) {
      const inputs = [x, await random([64], 2), await random([64], 3), await random([2, 64], 4)];
      const results: Buffer[][] = [];
      for (const threads of [1, 2]) {
        await native().setThreads(threads);
        const { output, gradients } = await callOperator(
          "group_norm_silu_shift",
          inputs,
          [8, 1e-5],
          await random(shape, 5),
        );
        const arrays = await Promise.all([output, ...gradients].map((tensor) => tensor.toArray()));
        results.push(arrays.map((array) => Buffer.from(array.buffer as ArrayBuffer)));
      }
      await native().setThreads(1);
      expect(results[0]!.map((bytes, i) => bytes.equals(results[1]![i]!))).toEqual(Array(5).fill(true));
    }
  });

  test("adds one shift to every row", async () => {
    const [x, weight, bias, shift] = await Promise.all(
      [[3, 16, 4, 4], [16], [16], [1, 16]].map((s) => Tensor.randn(s)),
    );
    const gradient = await Tensor.randn([3, 16, 4, 4]);
    const inputs = [x!, weight!, bias!, shift!];
    const own = await callOperator("group_norm_silu_shift", inputs, [4, 1e-5], gradient);
    const plain = await callOperator("group_norm_silu_shift_plain", inputs, [4, 1e-5], gradient);
    for (const [i, actual] of [own.output, ...own.gradients].entries()) {
      const expected = await [plain.output, ...plain.gradients][i]!.toArray();
      for (const [j, value] of (await actual.toArray()).entries()) expect(value).toBeCloseTo(Number(expected[j]), 4);
    }
  });

  test("refuses parameters that do not fit, as libtorch does", async () => {
    const [x, weight] = [await Tensor.randn([1, 8, 2, 2]), await Tensor.randn([6])];
    await expect(callOperator("group_norm_silu", [x, weight, weight], [2, 1e-5])).rejects.toThrow(/weight/);
    const fitting = await Tensor.randn([8]);
    await expect(callOperator("group_norm_silu", [x, fitting, fitting], [3, 1e-5])).rejects.toThrow(/groups/);
  });
});

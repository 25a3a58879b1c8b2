import { describe, expect, test } from "vitest";
import { type DType, Tensor } from "../../lib/core/tensor.js";
import { caseName, compare, INSTRUCTION_SETS, type OperatorCase } from "./comparison.js";
import { callOperator, relativeError } from "./operator.js";

/** oneDNN's name of the instruction set where it has one, so that its products use no other either. */
const ONEDNN_NAMES: Readonly<Record<string, string>> = { avx512: "AVX512_CORE", avx2: "AVX2" };

const DTYPES: DType[] = ["float32", "bfloat16"];

/** x [B,I,H,W], the channels of the result, the kernel, stride and padding. */
const MAPS = [
  [[2, 32, 9, 7], 48, 3, 1, 1],
  [[1, 5, 8, 8], 7, 3, 2, 1],
  [[3, 33, 5, 5], 17, 1, 1, 0],
  [[2, 16, 9, 6], 24, 2, 1, 0], // a phase of an enlargement
  [[1, 1, 4, 4], 1, 3, 1, 1],
  [[1, 64, 1, 1], 130, 3, 1, 1],
] as const;

const CONVOLUTIONS: OperatorCase[] = DTYPES.flatMap((dtype) =>
  MAPS.flatMap(([x, channels, kernel, stride, padding]) => {
    const size = (length: number) => Math.floor((length + 2 * padding - kernel) / stride) + 1;
    const shapes = [x, [channels, x[1], kernel, kernel], [channels], [x[0], channels, size(x[2]), size(x[3])]];
    return (["contiguous", "channels-last"] as const).map((layout) => ({
      operator: "int8_conv2d",
      numbers: [stride, padding],
      inputs: shapes.map((shape, i) => ({ shape, dtype, mean: i === 0 ? 0.4 : 0 })),
      layout,
      backward: false,
    }));
  }),
);

/** x [...,in] and the width of the result. */
const ROWS = [
  [[2, 9, 32], 48],
  [[1, 5], 7],
  [[3, 33, 65], 130],
  [[1, 1], 1],
] as const;

const LINEARS: OperatorCase[] = DTYPES.flatMap((dtype) =>
  ROWS.map(([x, width]) => ({
    operator: "int8_linear",
    numbers: [],
    inputs: [x, [width, x.at(-1)!], [width], [...x.slice(0, -1), width]].map((shape) => ({ shape, dtype })),
    backward: false,
  })),
);

const CASES = [...CONVOLUTIONS, ...LINEARS];
const isFloat32 = ({ inputs }: OperatorCase) => inputs[0]!.dtype === "float32";

describe("8-bit products", () => {
  for (const set of INSTRUCTION_SETS)
    test(`are those of the rounded numbers with ${set}`, async () => {
      const name = ONEDNN_NAMES[set];
      // On ARM without bfloat16, libtorch's own bfloat16 products, which this compares with, switch oneDNN off.
      const cases = process.arch === "arm64" && !set.endsWith("_bf16") ? CASES.filter(isFloat32) : CASES;
      const results = await compare(set, cases, name ? { ONEDNN_MAX_CPU_ISA: name } : {});
      expect(results).toHaveLength(cases.length);
      for (const [i, { own, dtypes }] of results.entries()) {
        const { inputs, layout } = cases[i]!;
        const { dtype } = inputs[0]!;
        expect(dtypes[0], caseName(cases[i]!)).toBe(dtype);
        // Sums are exact; what is left is the result's own rounding, twice in a linear layer.
        expect(own[0], `${caseName(cases[i]!)} ${layout}`).toBeLessThan(dtype === "float32" ? 1e-6 : 5e-3);
      }
    });

  const linear = async (rows: number[][], weight: number[][]) => {
    const matrix = (x: number[][]) => Tensor.from(x.flat(), [x.length, x[0]!.length]);
    const zeros = [await Tensor.zeros([weight.length]), await Tensor.zeros([rows.length, weight.length])];
    const { output } = await callOperator("int8_linear", [matrix(rows), matrix(weight), ...zeros]);
    return Array.from(await output.toArray(), Number);
  };

  test("have a small error", async () => {
    const rows = Array.from({ length: 5 }, () => Array.from({ length: 256 }, () => Math.random() * 2 - 1));
    const exact = Tensor.from(
      rows.flatMap((a) => rows.map((b) => a.reduce((sum, value, i) => sum + value * b[i]!, 0))),
    );
    const products = Tensor.from(await linear(rows, rows));
    expect(await relativeError(products, exact)).toBeLessThan(0.02);
    // The same as a convolution: every row a pixel.
    const map = Tensor.from(
      Array.from({ length: 256 }, (_, channel) => rows.map((row) => row[channel]!)).flat(),
      [1, 256, 5, 1],
    );
    const weight = Tensor.from(rows.flat(), [5, 256, 1, 1]);
    const zeros = [await Tensor.zeros([5]), await Tensor.zeros([1, 5, 5, 1])];
    const { output } = await callOperator("int8_conv2d", [map, weight, ...zeros], [1, 0]);
    expect(await relativeError(output, exact)).toBeLessThan(0.02);
  });

  test("of a linear layer give each row its own scale", async () => {
    const result = await linear(
      [
        [1, 0.5],
        [1000, -500],
        [0, 0],
      ],
      [[1, 1]],
    );
    expect(result[0]).toBeCloseTo(1.5, 1);
    expect(result[1]! / 500).toBeCloseTo(1, 1);
    expect(result[2]).toBe(0);
  });

  test("of weights or inputs that are all 0 are 0", async () => {
    expect(
      await linear(
        [[1, 2]],
        [
          [0, 0],
          [1, 0],
        ],
      ),
    ).toEqual([0, expect.closeTo(1, 1)]);
    const [x, weight] = [await Tensor.zeros([1, 3, 4, 4]), await Tensor.randn([2, 3, 3, 3])];
    const [bias, addend] = [await Tensor.full([2], 0.5), await Tensor.zeros([1, 2, 4, 4])];
    const { output } = await callOperator("int8_conv2d", [x, weight, bias, addend], [1, 1]);
    expect(Array.from(await output.toArray(), Number)).toEqual(Array(32).fill(0.5));
  });

  test("of inputs that are not finite are not finite", async () => {
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
      const result = await linear(
        [
          [1, bad],
          [1, 1],
        ],
        [[1, 1]],
      );
      expect(result[0]).toBeNaN();
      expect(result[1]).toBeCloseTo(2, 1);
      const x = Tensor.from([1, 2, bad, 4], [1, 1, 2, 2]);
      const [weight, bias] = [await Tensor.full([1, 1, 1, 1], 1), await Tensor.zeros([1])];
      const { output } = await callOperator("int8_conv2d", [x, weight, bias, await Tensor.zeros([1, 1, 2, 2])], [1, 0]);
      expect(Array.from(await output.toArray(), Number)).toEqual(Array(4).fill(Number.NaN));
    }
  });
});

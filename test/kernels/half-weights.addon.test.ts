import { expect, test } from "vitest";
import { Tensor } from "../../lib/core/tensor.js";
import { native } from "../../lib/runtime/native.js";
import { caseName, compare, INSTRUCTION_SETS, type OperatorCase, SETS_WITHOUT_BFLOAT16 } from "./comparison.js";
import { measureModels } from "./half-weights.js";
import { callOperator } from "./operator.js";

const HALVES = ["bfloat16", "float16"] as const;

/** x and the weight: rows that are few and many, outputs that fill pieces of the weight and that do not. */
const PRODUCTS = [
  [
    [1, 5],
    [3, 5],
  ],
  [
    [2, 7, 64],
    [130, 64],
  ],
  [
    [77, 2048],
    [300, 2048],
  ],
  [
    [2, 33, 512],
    [1025, 512],
  ],
] as const;

/** x, the weight, stride and padding. */
const CONVOLUTIONS = [
  [
    [2, 8, 9, 7],
    [20, 8, 1, 1],
    [1, 0],
  ],
  [
    [1, 6, 8, 8],
    [12, 6, 3, 3],
    [2, 1],
  ],
  [
    [1, 4, 5, 5],
    [3, 4, 3, 3],
    [1, 1],
  ],
  [
    [2, 5, 6, 6],
    [7, 5, 1, 1],
    [2, 0],
  ],
] as const;

const side = (size: number, kernel: number, [stride, padding]: readonly [number, number]) =>
  Math.floor((size + 2 * padding - kernel) / stride) + 1;

const caseOf = (
  operator: string,
  dtype: (typeof HALVES)[number],
  shapes: readonly (readonly number[])[],
  numbers: readonly number[] = [],
): OperatorCase => ({
  ...{ operator, numbers, backward: false },
  inputs: shapes.map((shape, i) => ({ shape, dtype: i === 1 || i === 2 ? dtype : "float32" })),
});

const CASES = HALVES.flatMap((dtype) => [
  ...["half_product", "half_weight_linear"].flatMap((operator) =>
    PRODUCTS.map(([x, weight]) => caseOf(operator, dtype, [x, weight, [weight[0]], [...x.slice(0, -1), weight[0]]])),
  ),
  ...CONVOLUTIONS.map(([x, weight, geometry]) => {
    const result = [x[0], weight[0], side(x[2], weight[2], geometry), side(x[3], weight[3], geometry)];
    return caseOf("half_weight_conv2d", dtype, [x, weight, [weight[0]], result], geometry);
  }),
]);

test.each(INSTRUCTION_SETS)("products with weights in half precision are exact to float32 with %s", async (set) => {
  const results = await compare(set, CASES);
  for (const [i, { own, dtypes }] of results.entries()) {
    expect(own[0], caseName(CASES[i]!)).toBeLessThan(1e-6);
    expect(dtypes[0]).toBe("float32");
  }
});

test("rows that are none give none", async () => {
  const weight = await Tensor.randn([3, 5], { dtype: "bfloat16" });
  const [x, bias, addend] = [await Tensor.zeros([0, 5]), await Tensor.zeros([3]), await Tensor.zeros([0, 3])];
  expect((await callOperator("half_product", [x, weight, bias, addend])).output.shape).toEqual([0, 3]);
});

test("models compute in float32 where the processor has no instructions, and give their own type", async () => {
  const found = native().systemInfo();
  expect(Object.keys(found.cpuArithmetic)).toEqual(["bfloat16", "float16"]);
  for (const set of SETS_WITHOUT_BFLOAT16) {
    const { arithmetic, results, auto } = await measureModels(set);
    expect(arithmetic.bfloat16).toBe("float32");
    expect(auto, "the type that auto chooses").toEqual(["float32", "float32"]);
    for (const { model, dtype, given, error, rounding } of results) {
      expect(given, model).toBe(dtype);
      // What is left is the rounding of the result.
      expect(error, `${model} in ${dtype}`).toBeLessThan(1.01 * rounding);
    }
  }
});

test.runIf(INSTRUCTION_SETS.includes("avx512_bf16"))(
  "auto chooses bfloat16 where the processor computes with it",
  async () => {
    expect((await measureModels("avx512_bf16")).auto).toEqual(["bfloat16", "bfloat16"]);
  },
);

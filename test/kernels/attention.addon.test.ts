import { describe, expect, test } from "vitest";
import { Generator } from "../../lib/core/generator.js";
import { Tensor } from "../../lib/core/tensor.js";
import { native } from "../../lib/runtime/native.js";
import { measureInChild } from "../runtime/child.js";
import { INSTRUCTION_SETS } from "./comparison.js";
import { callOperator, relativeError } from "./operator.js";

type Shape = readonly [batch: number, heads: number, queries: number, keys: number, channels: number];

const AUTO = 0;
const MATH = 1;

async function inputs([batch, heads, queries, keys, channels]: Shape, dtype: "float32" | "bfloat16", scale = 1) {
  const generator = new Generator("cpu", 1);
  const draw = async (tokens: number, by: number) => {
    using normal = await Tensor.randn([batch, heads, tokens, channels], { generator });
    using scaled = await normal.mul(by);
    return scaled.to({ dtype });
  };
  return {
    tensors: [await draw(queries, scale), await draw(keys, scale), await draw(keys, 1)],
    gradient: await draw(queries, 1),
  };
}

/** Relative errors of the output and of the gradients of q, k and v, against the score matrix in float64. */
async function errors(
  { tensors, gradient }: Awaited<ReturnType<typeof inputs>>,
  causal: boolean,
  [operator, numbers]: [name: string, numbers: number[]] = ["attention", [Number(causal), AUTO]],
): Promise<number[]> {
  const exact = await Promise.all([...tensors, gradient].map((tensor) => tensor.to({ dtype: "float64" })));
  const expected = await callOperator("attention", exact.slice(0, 3), [Number(causal), MATH], exact[3]);
  const actual = await callOperator(operator, tensors, numbers, gradient);
  const pairs = [[actual.output, expected.output] as const].concat(
    actual.gradients.map((tensor, i) => [tensor, expected.gradients[i]!] as const),
  );
  return Promise.all(
    pairs.map(async ([a, b]) => {
      expect(a.shape).toEqual(b.shape);
      return relativeError(a, b);
    }),
  );
}

const SHAPES: Shape[] = [
  [1, 2, 64, 64, 40],
  [2, 3, 100, 77, 40],
  [1, 1, 1024, 77, 40],
  [1, 2, 256, 256, 80],
  [2, 1, 64, 64, 160],
  [1, 2, 77, 77, 64],
  [1, 1, 50, 100, 512],
  [1, 2, 1, 1, 1],
  [2, 2, 15, 16, 7],
  [1, 2, 17, 15, 33],
  [1, 1, 1, 100, 33],
  [1, 1, 100, 1, 40],
  [1, 1, 193, 97, 8],
];

describe.each(["float32", "bfloat16"] as const)("attention in %s", (dtype) => {
  const tolerance = dtype === "float32" ? 2e-6 : 1e-2;

  describe.each([false, true])("equals attention with the score matrix, and its gradients; causal: %s", (causal) => {
    test.each(SHAPES)("[%i, %i, %i queries, %i keys, %i channels]", async (...shape) => {
      const errorsOfAll = await errors(await inputs(shape, dtype), causal);
      // A query with one key has the softmax of one score: gradients of exactly zero, on both sides.
      const alone = shape[3] === 1 || (causal && shape[2] === 1);
      const compared = alone ? [errorsOfAll[0]!, errorsOfAll[3]!] : errorsOfAll;
      for (const error of compared) expect(error).toBeLessThan(tolerance);
    });
  });

  test("is at least as exact as libtorch's kernel", async () => {
    for (const shape of [SHAPES[1]!, SHAPES[3]!, SHAPES[4]!]) {
      const given = await inputs(shape, dtype);
      const own = await errors(given, false);
      const libtorch = await errors(given, false, ["attention_libtorch", [0]]);
      for (const [i, error] of own.entries()) expect(error).toBeLessThan(1.2 * libtorch[i]! + 1e-7);
    }
  });

  test("of huge scores is that of the highest, without NaN", async () => {
    const given = await inputs([1, 2, 100, 130, 40], dtype, 30);
    const [output, ...gradients] = await errors(given, false);
    expect(output).toBeLessThan(dtype === "float32" ? 1e-3 : 1e-2);
    // Where nearly all falls to one key, gradients are small differences of rounded numbers.
    const [, ...libtorch] = await errors(given, false, ["attention_libtorch", [0]]);
    for (const [i, error] of gradients.entries()) expect(error).toBeLessThan(2 * libtorch[i]! + 1e-3);
  });

  test("accepts and returns heads side by side, as layers have them", async () => {
    const [batch, heads, queries, keys, channels] = [2, 3, 70, 40, 40];
    const draw = (tokens: number) => Tensor.randn([batch, tokens, heads * channels], { dtype });
    const tensors = [await draw(queries), await draw(keys), await draw(keys)];
    const gradient = await draw(queries);
    const exact = await Promise.all([...tensors, gradient].map((tensor) => tensor.to({ dtype: "float64" })));
    const expected = await callOperator("multi_head_attention", exact.slice(0, 3), [heads, 0, MATH], exact[3]);
    const actual = await callOperator("multi_head_attention", tensors, [heads, 0, AUTO], gradient);
    expect(await relativeError(actual.output, expected.output)).toBeLessThan(tolerance);
    for (const [i, tensor] of actual.gradients.entries())
      expect(await relativeError(tensor, expected.gradients[i]!)).toBeLessThan(tolerance);
  });
});

test("causal attention does not depend on later tokens", async () => {
  const { tensors } = await inputs([1, 1, 90, 90, 40], "bfloat16");
  const [q, k, v] = tensors as [Tensor, Tensor, Tensor];
  const { output } = await callOperator("attention", [q, k, v], [1, AUTO]);
  const cut = (tensor: Tensor) => tensor.slice(2, 0, 50);
  const { output: shorter } = await callOperator("attention", [await cut(q), await cut(k), await cut(v)], [1, AUTO]);
  expect(await (await cut(output)).equal(shorter)).toBe(true);
});

// With one head, two threads share its keys; with six, each has its own.
test.each([
  ["float32", 1],
  ["bfloat16", 1],
  ["float32", 6],
  ["bfloat16", 6],
] as const)("attention in %s with %i heads is the same bit by bit with two threads", async (dtype, heads) => {
  // So many keys of one head that threads pack them at the same time.
  const { tensors, gradient } = await inputs([1, heads, 150, heads === 1 ? 3000 : 190, 40], dtype);
  const values = async (threads: number) => {
    await native().setThreads(threads);
    const { output, gradients } = await callOperator("attention", tensors, [0, AUTO], gradient);
    return Promise.all([output, ...gradients].map((tensor) => tensor.toArray()));
  };
  const before = await native().getThreads();
  try {
    expect(await values(2)).toEqual(await values(1));
  } finally {
    await native().setThreads(before);
  }
});

test("attention of tensors of two types is an error, not a reinterpretation of one of them", async () => {
  const { tensors } = await inputs([1, 2, 4, 4, 8], "bfloat16");
  using wider = await tensors[1]!.to({ dtype: "float32" });
  await expect(callOperator("attention", [tensors[0]!, wider, tensors[2]!], [0, AUTO])).rejects.toThrow(
    "expected scalar type BFloat16 but found Float",
  );
});

test("attention of tensors that do not belong together is an error that names their shapes", async () => {
  const { tensors } = await inputs([1, 2, 4, 4, 8], "bfloat16");
  using other = await Tensor.randn([1, 2, 4, 9], { dtype: "bfloat16" });
  await expect(callOperator("attention", [tensors[0]!, tensors[1]!, other], [0, AUTO])).rejects.toThrow(
    /the shapes of attention do not fit: queries \[1, 2, 4, 8\]/,
  );
});

// Every set of instructions that this processor has runs its own kernels; with tiles the other tests run.
const SETS = [...INSTRUCTION_SETS, "none"];
describe.each(SETS)("with IP2P_CPU_CAPABILITY=%s", (IP2P_CPU_CAPABILITY) => {
  test("attention and its gradients are right", async () => {
    const env = { IP2P_CPU_CAPABILITY, OMP_NUM_THREADS: "1" };
    const { float32, bfloat16 } = await measureInChild<Record<string, number[]>>("attention-errors.mjs", [], { env });
    for (const error of float32!) expect(error).toBeLessThan(2e-6);
    for (const error of bfloat16!) expect(error).toBeLessThan(1e-2);
  });
});

import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { Tensor } from "../../lib/core/tensor.js";
import { native } from "../../lib/runtime/native.js";
import { root } from "../docs/pages.js";
import { caseName, compare, INSTRUCTION_SETS, type OperatorCase } from "./comparison.js";
import { callOperator } from "./operator.js";

/** x [B,I,H,W] and the channels of the result: tiles of 2×2 and 4×4, cut ones, channels that fill no vector. */
const MAPS = [
  [[2, 32, 8, 8], 48],
  [[1, 33, 5, 7], 37],
  [[1, 40, 1, 1], 32],
  [[3, 100, 1, 9], 130],
  [[2, 64, 16, 16], 64],
  [[1, 36, 17, 23], 41],
  [[3, 70, 33, 14], 57],
] as const;

/** The layout of x, and the type of the weight and of the bias. */
const KINDS = [
  ["contiguous", "float32"],
  ["channels-last", "float32"],
  ["channels-last", "bfloat16"],
  ["channels-last", "float16"],
] as const;

const CASES: OperatorCase[] = MAPS.flatMap(([x, channels]) => {
  const shapes = [x, [channels, x[1], 3, 3], [channels], [x[0], channels, x[2], x[3]]];
  return KINDS.map(([layout, weights]) => ({
    operator: "winograd_conv2d",
    numbers: [],
    inputs: shapes.map((shape, i) => ({
      shape,
      dtype: i === 1 || i === 2 ? weights : "float32",
      mean: i === 0 ? 0.4 : 0,
    })),
    layout,
    backward: false,
  }));
});

describe("Winograd's convolutions", () => {
  for (const set of INSTRUCTION_SETS)
    test(`have small errors with ${set}`, async () => {
      const results = await compare(set, CASES);
      expect(results).toHaveLength(CASES.length);
      for (const [i, { own }] of results.entries()) expect(own[0], caseName(CASES[i]!)).toBeLessThan(2e-6);
    });

  test("give an image the same bits alone, in a batch, and with any number of threads", async () => {
    for (const side of [8, 20]) {
      const [x, weight] = [await Tensor.randn([3, 40, side, side]), await Tensor.randn([72, 40, 3, 3])];
      const [bias, addend] = [await Tensor.randn([72]), await Tensor.randn([3, 72, side, side])];
      const convolve = async (image: Tensor, added: Tensor) =>
        (await callOperator("winograd_conv2d", [image, weight, bias, added])).output;
      const batch = await convolve(x, addend);
      for (const row of [0, 1, 2]) {
        const alone = await convolve(await x.slice(0, row, row + 1), await addend.slice(0, row, row + 1));
        expect(await alone.equal(await batch.slice(0, row, row + 1))).toBe(true);
      }
      const threads = await native().getThreads();
      for (const count of [2, 3, 7]) {
        await native().setThreads(count);
        expect(await (await convolve(x, addend)).equal(batch), `${count} threads`).toBe(true);
      }
      await native().setThreads(threads);
    }
  });

  test("leave the weights as they were", async () => {
    for (const [O, I] of [
      [32, 32],
      [37, 33],
      [100, 64],
    ]) {
      for (const dtype of ["float32", "bfloat16", "float16"] as const) {
        const weight = await Tensor.randn([O!, I!, 3, 3], { dtype });
        const { output } = await callOperator("unpacked_columns", [weight]);
        expect(output.dtype).toBe(dtype);
        expect(await output.equal(weight)).toBe(true);
      }
    }
  });

  test("are used and forbidden, and a weight is the same before and after", () => {
    const program = join(import.meta.dirname, "children", "winograd.mjs");
    const run = (env: Record<string, string>) => {
      const { status, stdout, stderr } = spawnSync(process.execPath, [program], {
        ...{ cwd: root, encoding: "utf8", env: { ...process.env, NODE_OPTIONS: "", ...env } },
      });
      expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
      return JSON.parse(stdout) as { allowed: string; forbidden: string; again: string; weights: boolean };
    };
    const usual = run({});
    expect(usual.weights).toBe(true);
    expect(usual.again).toBe(usual.allowed);
    expect(usual.forbidden).not.toBe(usual.allowed);
    const off = run({ IP2P_WINOGRAD: "off" });
    expect(off.allowed).toBe(usual.forbidden);
    expect(off.again).toBe(usual.allowed);
    // Processors without vectors have libtorch's convolution only.
    const none = run({ IP2P_CPU_CAPABILITY: "none" });
    expect(none.allowed).toBe(none.forbidden);
  });
});

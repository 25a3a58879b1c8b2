import { expect, test } from "vitest";
import { caseName, compare, expectAsExactAsPlain, INSTRUCTION_SETS, type OperatorCase } from "./comparison.js";

/** Learning rate, count of steps, divisor of the gradients, decay of the EMA. */
const STEPS = [
  [1e-4, 1, 1, 0],
  [1e-3, 7, 3.7, 0.97],
  [5e-5, 15000, 65536, 0.9999],
];

const CASES: OperatorCase[] = [[16], [1, 4], [3, 5, 7], [64, 1024, 2], [70_001]].flatMap((shape) =>
  STEPS.map((numbers) => ({
    operator: "adamw",
    numbers,
    inputs: Array.from({ length: 5 }, () => ({ shape, dtype: "float32" as const })),
    backward: false,
  })),
);

test.each(INSTRUCTION_SETS)("one pass of AdamW and EMA gives what libtorch's passes give, with %s", async (set) => {
  const results = await compare(set, CASES);
  expectAsExactAsPlain(CASES, results);
  for (const [i, { identical }] of results.entries()) {
    // libtorch itself rounds the elements that do not fill a vector in another way.
    const full = CASES[i]!.inputs[0]!.shape.reduce((a, b) => a * b) % 16 === 0;
    if (full) expect(identical, caseName(CASES[i]!)).toBe(true);
  }
});

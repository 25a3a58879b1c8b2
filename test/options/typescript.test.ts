import { expect, expectTypeOf, test } from "vitest";
import { declareOptions, type OptionInput } from "../../lib/options/declaration.js";
import { optionInterface } from "../../lib/options/typescript.js";
import type { trainOptions } from "../../lib/training/options.js";
import type { TrainInput } from "../../lib/training/train-input.js";

test("the written interface has the types of the declarations", () => {
  expectTypeOf<TrainInput>().toEqualTypeOf<{
    [K in keyof OptionInput<typeof trainOptions>]: OptionInput<typeof trainOptions>[K];
  }>();
});

test("members have the help, limits and defaults as comments, required ones come first", () => {
  const options = declareOptions({
    max_steps: { type: "integer", min: 1, default: 5, help: "steps, fewer with out_dir" },
    eta: { type: "number", min: 0, max: 1, help: "noise" },
    kind: { type: "string", choices: ["a", "b"], default: "a", orFactor: true, help: "shape" },
    out_dir: { type: "string", required: true, help: "where it goes" },
    seed: { type: "bigint", help: "of all random numbers" },
    fast: { type: "boolean", help: "hurry" },
  });
  expect(optionInterface("Input", options, "Options.")).toBe(`/** Options. */
export interface Input {
  /** Where it goes. */
  outDir: string;
  /** Steps, fewer with outDir. A whole number of at least 1. Default 5. */
  maxSteps?: number | undefined;
  /** Noise. A number from 0 to 1. */
  eta?: number | undefined;
  /** Shape. A function gives the factor for every step itself, so that no other option shapes it. Default "a". */
  kind?: "a" | "b" | FactorOfStep | undefined;
  /** Of all random numbers. */
  seed?: number | bigint | undefined;
  /** Hurry. Default false. */
  fast?: boolean | undefined;
}`);
});

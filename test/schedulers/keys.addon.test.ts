import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Tensor } from "../../lib/core/tensor.js";
import { loadSafetensors } from "../../lib/files/safetensors.js";
import { fixture, readJson } from "../helpers/fixtures.js";
import { type RecordedCase, replay } from "./replay.js";

const { cases } = readJson<{ cases: RecordedCase[] }>(fixture("schedulers", "keys", "cases.json"));

/** Relative, per tensor. In half precision the reference rounds after every operation; these are a few of its steps. */
const TOLERANCE = { float32: 1e-5, float16: 5e-3, bfloat16: 3e-2 } as const;

describe("every configuration key and value gives diffusers' numbers", () => {
  let expected: Record<string, Tensor> = {};
  beforeAll(async () => {
    expected = await loadSafetensors(fixture("schedulers", "keys", "expected.safetensors"));
  });
  afterAll(() => {
    for (const tensor of Object.values(expected)) tensor.dispose();
  });

  for (const className of new Set(cases.map((recorded) => recorded.class))) {
    describe(className, () => {
      for (const [i, recorded] of cases.entries()) {
        if (recorded.class !== className) continue;
        it(title(recorded), async () => {
          const prefix = `${i}.`;
          const own = Object.entries(expected).filter(([name]) => name.startsWith(prefix));
          const deviations = await replay(
            recorded,
            Object.fromEntries(own.map(([name, tensor]) => [name.slice(prefix.length), tensor])),
          );
          expect(deviations.wholeTimesteps).toBe(0);
          expect(deviations.timesteps).toBeLessThan(2e-4);
          expect(deviations.sigmas).toBeLessThan(1e-6);
          expect(deviations.initNoiseSigma).toBeLessThan(2e-7);
          expect(Object.keys(deviations.tensors)).toEqual(expect.arrayContaining(["samples", "noised"]));
          const tolerance = TOLERANCE[(recorded.dtype ?? "float32") as keyof typeof TOLERANCE];
          for (const [name, deviation] of Object.entries(deviations.tensors))
            expect(deviation, name).toBeLessThan(tolerance);
        });
      }
    });
  }
});

function title({ config, set, step, dtype }: RecordedCase): string {
  const { trained_betas, ...rest } = config;
  return JSON.stringify({ ...rest, ...(trained_betas ? { trained_betas: "…" } : {}), ...set, ...step, dtype });
}

import { createHash } from "node:crypto";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { NumpyGenerator } from "../../lib/data/numpy-random.js";
import { fixture, readJson } from "../helpers/fixtures.js";

interface Recorded {
  raw: { seed: string; u64: string[] }[];
  permutations: { seed: string; n: number; p: number[] }[];
  long: { seed: string; n: number; head: number[]; tail: number[]; sha256: string }[];
}

const recorded = readJson<Recorded>(fixture("data", "numpy-permutations.json"));

describe("NumPy's default_rng", () => {
  test.each(recorded.raw)("gives NumPy's raw numbers for seed $seed", ({ seed, u64 }) => {
    const generator = new NumpyGenerator(BigInt(seed));
    expect(u64.map(() => String(generator.nextUint64()))).toEqual(u64);
  });

  test("shuffles small ranges as NumPy does, for seeds of every size", async () => {
    for (const { seed, n, p } of recorded.permutations)
      expect([...(await new NumpyGenerator(BigInt(seed)).permutation(n))], `seed ${seed}, length ${n}`).toEqual(p);
  });

  test.each(recorded.long)("shuffles $n rows as NumPy does for seed $seed", async ({ seed, n, head, tail, sha256 }) => {
    const order = await new NumpyGenerator(BigInt(seed)).permutation(n);
    expect([...order.subarray(0, 5)]).toEqual(head);
    expect([...order.subarray(-5)]).toEqual(tail);
    expect(createHash("sha256").update(order).digest("hex")).toBe(sha256);
  });

  test("a permutation holds every row once", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.bigInt({ min: 0n, max: 2n ** 130n }),
        fc.integer({ min: 0, max: 2000 }),
        async (seed, length) => {
          const order = await new NumpyGenerator(seed).permutation(length);
          expect(new Set(order).size).toBe(length);
          expect(order.every((row) => row < length)).toBe(true);
        },
      ),
      { numRuns: 200 },
    );
  });

  test("seeds that NumPy refuses are refused", () => {
    for (const seed of [-1, -1n, 0.5, Number.NaN, 2 ** 60])
      expect(() => new NumpyGenerator(seed)).toThrow(expect.objectContaining({ code: "ERR_INVALID_ARGUMENT" }));
  });
});

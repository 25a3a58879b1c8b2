import { expect, test } from "vitest";
import { Generator } from "../../lib/core/generator.js";
import { drawsFrom } from "../../lib/training/draws.js";
import { biasedTimestep, type TimestepBiasOptions, timestepBias } from "../../lib/training/timestep-bias.js";

const N = 1000;
const options = (given: Partial<TimestepBiasOptions>): TimestepBiasOptions => ({
  timestepBiasStrategy: "range",
  timestepBiasMultiplier: 3,
  timestepBiasPortion: 0.25,
  timestepBiasBegin: 0,
  timestepBiasEnd: N,
  ...given,
});

test("a strategy favours the right timesteps", () => {
  expect(timestepBias(options({ timestepBiasStrategy: "none" }), N)).toBeUndefined();
  expect(timestepBias(options({ timestepBiasStrategy: "earlier" }), N)).toEqual({ begin: 0, end: 250, multiplier: 3 });
  expect(timestepBias(options({ timestepBiasStrategy: "later" }), N)).toEqual({ begin: 750, end: N, multiplier: 3 });
  expect(timestepBias(options({ timestepBiasBegin: 200, timestepBiasEnd: 500 }), N)).toEqual({
    begin: 200,
    end: 500,
    multiplier: 3,
  });
});

test.each([
  { timestepBiasMultiplier: 0 },
  { timestepBiasBegin: 500, timestepBiasEnd: 500 },
  { timestepBiasEnd: N + 1 },
  { timestepBiasStrategy: "later" as const, timestepBiasPortion: 0 },
])("%j is refused", (given) => {
  expect(() => timestepBias(options(given), N)).toThrow(expect.objectContaining({ code: "ERR_INVALID_ARGUMENT" }));
});

test.each([
  { begin: 0, end: 250, multiplier: 3 },
  { begin: 750, end: N, multiplier: 5 },
  { begin: 200, end: 500, multiplier: 0.25 },
])("evenly spread numbers give each timestep as often as its weight: %j", (bias) => {
  const weightOf = (t: number) => (t >= bias.begin && t < bias.end ? bias.multiplier : 1);
  const weights = Array.from({ length: N }, (_, t) => weightOf(t));
  const sum = weights.reduce((a, b) => a + b);
  const draws = 200_000;
  const counts = new Array<number>(N).fill(0);
  for (let i = 0; i < draws; i++) counts[biasedTimestep((i + 0.5) / draws, N, bias)]!++;
  for (const [t, weight] of weights.entries()) expect(Math.abs(counts[t]! - (draws * weight) / sum)).toBeLessThan(1.5);
  expect(biasedTimestep(1 - 2 ** -24, N, bias)).toBe(N - 1);
});

test("training draws them from its generator, the same again from the same seed", async () => {
  const draw = async () => {
    const generator = new Generator("cpu", 1n);
    using timesteps = await drawsFrom(generator, generator, "cpu", { begin: 900, end: N, multiplier: 1e6 }).timesteps(
      64,
      N,
    );
    expect(timesteps.dtype).toBe("int64");
    return Array.from(await timesteps.toArray(), Number);
  };
  const drawn = await draw();
  expect(Math.min(...drawn)).toBeGreaterThanOrEqual(900);
  expect(new Set(drawn).size).toBeGreaterThan(30);
  expect(await draw()).toEqual(drawn);
});

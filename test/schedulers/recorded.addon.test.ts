import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Generator } from "../../lib/core/generator.js";
import { Tensor } from "../../lib/core/tensor.js";
import { loadSafetensors } from "../../lib/files/safetensors.js";
import type { SchedulerConfig } from "../../lib/schedulers/config.js";
import { schedulerFromClassName } from "../../lib/schedulers/registry.js";
import { deviation } from "../helpers/compare.js";
import { fixture, readJson } from "../helpers/fixtures.js";

interface Case {
  class: string;
  config: SchedulerConfig;
  steps: number;
  seed: number;
  init_noise_sigma: number;
}

const cases = readJson<Case[]>(fixture("schedulers", "recorded", "cases.json"));
const TOLERANCE = 1e-5;

describe("whole runs recorded from diffusers", () => {
  let expected: Record<string, Tensor> = {};
  beforeAll(async () => {
    expected = await loadSafetensors(fixture("schedulers", "recorded", "expected.safetensors"));
  });
  afterAll(() => {
    for (const tensor of Object.values(expected)) tensor.dispose();
  });

  const titled = cases.map((recorded, i) => ({ ...recorded, i, options: JSON.stringify(recorded.config) }));
  it.each(titled)("$i $class, $steps steps, $options", async (recorded) => {
    const record = (name: string) => expected[`${recorded.i}.${name}`]!;
    const row = async (name: string, i: number) => {
      using slice = await record(name).slice(0, i, i + 1);
      return slice.reshape(slice.shape.slice(1));
    };
    const close = async (actual: Tensor, wanted: Tensor) =>
      expect((await deviation(actual, wanted)).relative).toBeLessThan(TOLERANCE);

    const scheduler = schedulerFromClassName(recorded.class).fromConfig(recorded.config);
    scheduler.setTimesteps(recorded.steps);
    expect(Math.abs(scheduler.initNoiseSigma / recorded.init_noise_sigma - 1)).toBeLessThan(1e-6);
    const timesteps = Array.from(await record("timesteps").toArray(), Number);
    expect(scheduler.timesteps.length).toBe(timesteps.length);
    for (const [i, timestep] of timesteps.entries()) {
      // Whole timesteps are the same; fractional ones are to within a rounding of the noise levels.
      const tolerance = Number.isInteger(timestep) ? 0 : 2 ** -22 * timestep;
      expect(Math.abs(scheduler.timesteps[i]! - timestep)).toBeLessThanOrEqual(tolerance);
    }

    // x was drawn with the seed, the steps' own noise with the next one; the model outputs are part of the record.
    using start = await Tensor.randn(record("x0").shape, { generator: new Generator("cpu", recorded.seed) });
    const generator = new Generator("cpu", recorded.seed + 1);
    let x = await Tensor.linearCombination([[scheduler.initNoiseSigma, start]]);
    await close(x, record("x0"));
    for (const [i, timestep] of scheduler.timesteps.entries()) {
      using input = await scheduler.scaleModelInput(x, timestep);
      await close(input, await row("model_inputs", i));
      using output = await row("model_outputs", i);
      const { prevSample } = await scheduler.step(output, timestep, x, { generator });
      await close(prevSample, await row("samples", i));
      x.dispose();
      x = prevSample;
    }

    const fresh = schedulerFromClassName(recorded.class).fromConfig(recorded.config);
    fresh.setTimesteps(recorded.steps);
    const rows = Array.from(await record("add_noise.timesteps").toArray(), Number);
    const noised = await fresh.addNoise(record("add_noise.original"), record("add_noise.noise"), rows);
    await close(noised, record("add_noise.out"));
  });
});

import { Generator } from "../../lib/core/generator.js";
import { type DType, Tensor } from "../../lib/core/tensor.js";
import { AlphaScheduler } from "../../lib/schedulers/alpha-scheduler.js";
import type { SchedulerConfig } from "../../lib/schedulers/config.js";
import { EulerDiscreteScheduler } from "../../lib/schedulers/euler-discrete.js";
import type { SetTimestepsOptions, StepOptions } from "../../lib/schedulers/options.js";
import { schedulerFromClassName } from "../../lib/schedulers/registry.js";
import { deviation } from "../helpers/compare.js";

/** A case as scripts/record-schedulers.py writes it. */
export interface RecordedCase {
  class: string;
  config: SchedulerConfig;
  set: SetTimestepsOptions & { numInferenceSteps?: number };
  step?: StepOptions;
  seed: number;
  dtype?: DType;
  shape?: number[];
  output_shape?: number[];
  positive_variance?: boolean;
  timesteps: number[];
  sigmas?: number[];
  init_noise_sigma: number;
  kept: number[];
  rows: number[];
}

/** Largest deviations from the record; those of tensors relative to the largest recorded value. */
export interface Deviations {
  /** Of the timesteps that were recorded as whole numbers. */
  wholeTimesteps: number;
  timesteps: number;
  sigmas: number;
  initNoiseSigma: number;
  tensors: Record<string, number>;
}

const relative = (a: number, b: number) => (a === b ? 0 : Math.abs(a - b) / Math.max(Math.abs(b), 1e-30));
const largest = (values: number[]) => values.reduce((a, b) => (b > a || Number.isNaN(b) ? b : a), 0);

/** Runs a recorded case anew, with the same draws, and compares everything that was recorded. */
export async function replay(recorded: RecordedCase, expected: Record<string, Tensor>): Promise<Deviations> {
  const { seed, dtype = "float32", shape = [2, 4, 2, 2] } = recorded;
  const { numInferenceSteps, ...set } = recorded.set;
  using scheduler = schedulerFromClassName(recorded.class).fromConfig(recorded.config);
  scheduler.setTimesteps(numInferenceSteps, set);
  const sigmas = (scheduler as { sigmas?: number[] }).sigmas;
  if (scheduler.timesteps.length !== recorded.timesteps.length || sigmas?.length !== recorded.sigmas?.length)
    throw new Error(`${scheduler.timesteps.length} timesteps where ${recorded.timesteps.length} were recorded`);

  const tensors: Record<string, number> = {};
  const compare = async (name: string, actual: Tensor, index?: number) => {
    const record = expected[name];
    if (record === undefined) return;
    const one = index === undefined ? record : await record.slice(0, index, index + 1);
    const shaped = await one.reshape(actual.shape);
    const { relative } = await deviation(actual, shaped);
    tensors[name] = largest([tensors[name] ?? 0, relative]);
    for (const tensor of index === undefined ? [shaped] : [shaped, one]) tensor.dispose();
  };
  const drawn = async (from: Generator, size: number[]) => {
    using wide = await Tensor.randn(size, { generator: from });
    return wide.to({ dtype });
  };

  const outputs = new Generator("cpu", seed + 1);
  const generator = new Generator("cpu", seed + 2);
  using start = await drawn(new Generator("cpu", seed), shape);
  let x = await Tensor.linearCombination([[scheduler.initNoiseSigma, start]]);
  for (const [i, timestep] of scheduler.timesteps.entries()) {
    using input = await scheduler.scaleModelInput(x, timestep);
    let output = await drawn(outputs, recorded.output_shape ?? shape);
    if (recorded.positive_variance) output = await withPositiveVariance(output, shape[1]!);
    const index = recorded.kept.indexOf(i);
    const options = { ...recorded.step, generator, predOriginalSample: index >= 0 };
    const { prevSample, predOriginalSample } = await scheduler.step(output, timestep, x, options);
    if (index >= 0) {
      await compare("inputs", input, index);
      await compare("samples", prevSample, index);
      if (predOriginalSample) await compare("originals", predOriginalSample, index);
    }
    for (const tensor of [x, output, predOriginalSample]) tensor?.dispose();
    x = prevSample;
  }
  if (x.dtype !== dtype) throw new Error(`the samples have become ${x.dtype}`);
  x.dispose();

  const fresh = schedulerFromClassName(recorded.class).fromConfig(recorded.config);
  fresh.setTimesteps(numInferenceSteps, set);
  const pair = new Generator("cpu", seed + 3);
  using original = await drawn(pair, shape);
  using noise = await drawn(pair, shape);
  using noised = await fresh.addNoise(original, noise, recorded.rows);
  await compare("noised", noised);
  if (fresh instanceof AlphaScheduler || fresh instanceof EulerDiscreteScheduler) {
    using velocity = await fresh.getVelocity(original, noise, recorded.rows);
    await compare("velocity", velocity);
  }
  const off = scheduler.timesteps.map((t, i) => Math.abs(t - recorded.timesteps[i]!));
  return {
    wholeTimesteps: largest(off.filter((_, i) => Number.isInteger(recorded.timesteps[i]))),
    timesteps: largest(off),
    sigmas: largest((sigmas ?? []).map((sigma, i) => relative(sigma, recorded.sigmas![i]!))),
    initNoiseSigma: relative(scheduler.initNoiseSigma, recorded.init_noise_sigma),
    tensors,
  };
}

/** Variances are not negative: makes the second half of the channels absolute. */
async function withPositiveVariance(output: Tensor, channels: number): Promise<Tensor> {
  using whole = output;
  using mean = await whole.slice(1, 0, channels);
  using signed = await whole.slice(1, channels, 2 * channels);
  using variance = await signed.abs();
  return Tensor.cat([mean, variance], 1);
}

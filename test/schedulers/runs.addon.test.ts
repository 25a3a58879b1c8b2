import { describe, expect, it } from "vitest";
import { Generator } from "../../lib/core/generator.js";
import { Tensor } from "../../lib/core/tensor.js";
import {
  DDIMScheduler,
  DDPMScheduler,
  EulerDiscreteScheduler,
  HeunDiscreteScheduler,
  LMSDiscreteScheduler,
  PNDMScheduler,
  SCHEDULER_NAMES,
  type Scheduler,
  schedulerFromClassName,
  UniPCMultistepScheduler,
} from "../../lib/schedulers/index.js";
import { deviation } from "../helpers/compare.js";

const SHAPE = [2, 4, 3, 3];
const failure = (code: string, text: string) =>
  expect.objectContaining({ code, message: expect.stringContaining(text) });
const draw = (seed: number, shape = SHAPE) => Tensor.randn(shape, { generator: new Generator("cpu", seed) });

/** A run whose model outputs depend on the sample, as a model's do. `afterStep` sees the sample after every step. */
async function run(scheduler: Scheduler, steps: number, afterStep?: () => Promise<void>): Promise<number[]> {
  scheduler.setTimesteps(steps);
  const generator = new Generator("cpu", 5);
  using start = await draw(4);
  let x = await Tensor.linearCombination([[scheduler.initNoiseSigma, start]]);
  for (const timestep of scheduler.timesteps) {
    using input = await scheduler.scaleModelInput(x, timestep);
    using output = await input.clamp(-1, 1);
    const { prevSample } = await scheduler.step(output, timestep, x, { generator });
    x.dispose();
    x = prevSample;
    await afterStep?.();
  }
  const values = Array.from(await x.toArray(), Number);
  x.dispose();
  return values;
}

describe("a scheduler's run", () => {
  it.each(SCHEDULER_NAMES)("%s: clones that run concurrently give the same results as alone", async (name) => {
    const original = schedulerFromClassName(name).fromConfig(
      name === "UnCLIPScheduler" ? {} : { beta_schedule: "scaled_linear" },
    );
    const alone = await run(original.clone(), 6);
    const [a, b] = await Promise.all([run(original.clone(), 6), run(original.clone(), 6)]);
    expect(a).toEqual(alone);
    expect(b).toEqual(alone);
    expect(original.numInferenceSteps).toBe(original.clone().numInferenceSteps);
  });

  it.each(SCHEDULER_NAMES)("%s: restarts after setTimesteps, also in the middle of a run", async (name) => {
    const scheduler = schedulerFromClassName(name).fromConfig({});
    const first = await run(scheduler, 5);
    let stepsTaken = 0;
    const interrupted = run(scheduler, 7, async () => {
      if (++stepsTaken === 3) throw new Error("enough");
    });
    await expect(interrupted).rejects.toThrow("enough");
    expect(await run(scheduler, 5)).toEqual(first);
    scheduler.dispose();
  });

  it.each(SCHEDULER_NAMES)("%s: does not change the caller's tensors, and hands over its own", async (name) => {
    const scheduler = schedulerFromClassName(name).fromConfig({});
    scheduler.setTimesteps(4);
    const sample = await draw(1);
    const output = await draw(2);
    const before = Array.from(await sample.toArray(), Number);
    const input = await scheduler.scaleModelInput(sample, scheduler.timesteps[0]!);
    const options = { predOriginalSample: true };
    const result = await scheduler.step(output, scheduler.timesteps[0]!, sample, options);
    for (const tensor of [input, result.prevSample, result.predOriginalSample]) {
      expect(tensor === sample || tensor === output).toBe(false);
      tensor?.dispose();
    }
    scheduler.dispose();
    expect(sample.disposed || output.disposed).toBe(false);
    expect(Array.from(await sample.toArray(), Number)).toEqual(before);
  });

  it("keeps copies of tensors that the caller disposes", async () => {
    for (const scheduler of [new PNDMScheduler(), new HeunDiscreteScheduler(), new LMSDiscreteScheduler()]) {
      // run() disposes every sample and output as soon as the step is done.
      expect((await run(scheduler, 8)).every(Number.isFinite)).toBe(true);
    }
  });

  it("draws noise row by row from a list of generators", async () => {
    const step = async (generator: Generator | Generator[], rows: number) => {
      const scheduler = new DDPMScheduler();
      scheduler.setTimesteps(4);
      const shape = [rows, ...SHAPE.slice(1)];
      const zeros = await Tensor.zeros(shape);
      return (await scheduler.step(zeros, scheduler.timesteps[0]!, zeros, { generator })).prevSample;
    };
    const both = await step([new Generator("cpu", 1), new Generator("cpu", 2)], 2);
    for (const row of [0, 1]) {
      const alone = await step(new Generator("cpu", row + 1), 1);
      expect((await deviation(await both.slice(0, row, row + 1), alone)).absolute).toBe(0);
    }
  });

  it("with a given varianceNoise draws nothing", async () => {
    const noise = await draw(3);
    const [sample, output] = [await draw(1), await draw(2)];
    const step = async (options: object) => {
      const ddim = new DDIMScheduler();
      ddim.setTimesteps(4);
      return (await ddim.step(output, ddim.timesteps[0]!, sample, { eta: 0.5, ...options })).prevSample;
    };
    const given = await step({ varianceNoise: noise });
    const drawn = await step({ generator: new Generator("cpu", 3) });
    expect((await deviation(given, drawn)).absolute).toBe(0);
    await expect(step({ varianceNoise: noise, generator: new Generator("cpu", 3) })).rejects.toEqual(
      failure("ERR_INVALID_ARGUMENT", "only one of generator and varianceNoise"),
    );
  });

  it("reports what is wrong with a step", async () => {
    const [sample, small] = [await draw(1), await draw(1, [2, 4, 3, 2])];
    const step = (scheduler: Scheduler, t: number, output = sample, options = {}) =>
      scheduler.step(output, t, sample, options);
    await expect(step(new DDIMScheduler(), 999)).rejects.toEqual(
      failure("ERR_INVALID_ARGUMENT", "call setTimesteps before step"),
    );
    const ddpm = new DDPMScheduler();
    ddpm.setTimesteps(10);
    await expect(step(ddpm, 901)).rejects.toEqual(failure("ERR_INVALID_ARGUMENT", "timestep 901 is not one of"));
    await expect(step(ddpm, 900, small)).rejects.toEqual(
      failure("ERR_INVALID_ARGUMENT", "shape [2,4,3,2] is not the sample's [2,4,3,3]"),
    );
    const euler = new EulerDiscreteScheduler();
    euler.setTimesteps(2);
    await expect(step(euler, 500)).rejects.toEqual(failure("ERR_INVALID_ARGUMENT", "timestep 500 is not one of"));
    await expect(step(euler, 999, sample, { sChurn: -1 })).rejects.toEqual(
      failure("ERR_INVALID_ARGUMENT", "sChurn -1"),
    );
    await step(euler, 999);
    await step(euler, 0);
    await expect(step(euler, 0)).rejects.toEqual(
      failure("ERR_INVALID_ARGUMENT", "all 2 steps are taken; call setTimesteps"),
    );
    await expect(ddpm.addNoise(sample, sample, [1, 2, 3])).rejects.toEqual(
      failure("ERR_INVALID_ARGUMENT", "3 timesteps for a batch of 2"),
    );
    await expect(ddpm.addNoise(sample, sample, [1000])).rejects.toEqual(
      failure("ERR_INVALID_ARGUMENT", "timestep 1000 is not"),
    );
    const learned = DDPMScheduler.fromConfig({ variance_type: "learned" });
    learned.setTimesteps(2);
    await expect(step(learned, 500)).rejects.toEqual(
      failure("ERR_CONFIG", 'variance_type "learned" needs a model output of 8 channels'),
    );
  });

  it("refuses to divide by a zero signal instead of giving infinities", async () => {
    const config = { rescale_betas_zero_snr: true, timestep_spacing: "trailing", clip_sample: false };
    const ddim = DDIMScheduler.fromConfig(config);
    ddim.setTimesteps(3);
    await expect(ddim.step(await draw(1), 999, await draw(2))).rejects.toEqual(
      failure("ERR_NOT_FINITE", "DDIMScheduler at timestep 999"),
    );
  });

  it("of more steps than whole timesteps stays finite, as does one to σ = 0 of high order", async () => {
    const cases = [
      { num_train_timesteps: 20 },
      { num_train_timesteps: 20, use_karras_sigmas: true },
      { num_train_timesteps: 20, solver_order: 3, lower_order_final: false },
      { num_train_timesteps: 20, solver_order: 3, solver_type: "bh1" },
    ];
    for (const config of cases)
      for (const name of ["DPMSolverMultistepScheduler", "UniPCMultistepScheduler"])
        expect((await run(schedulerFromClassName(name).fromConfig(config), 20)).every(Number.isFinite)).toBe(true);
  });

  it("can begin in the middle, with noise added for that step", async () => {
    const scheduler = new UniPCMultistepScheduler();
    scheduler.setTimesteps(6);
    scheduler.setBeginIndex(3);
    const [sample, noise] = [await draw(1), await draw(2)];
    const noised = await scheduler.addNoise(sample, noise, [999]);
    scheduler.setTimesteps(6);
    expect(await noised.equal(await scheduler.addNoise(sample, noise, [scheduler.timesteps[3]!]))).toBe(true);
    scheduler.setBeginIndex(3);
    for (const timestep of scheduler.timesteps.slice(3)) await scheduler.step(noise, timestep, sample);
    expect(scheduler.stepIndex).toBe(6);
    expect(() => scheduler.setBeginIndex(6)).toThrow(failure("ERR_INVALID_ARGUMENT", "begin index 6"));
  });

  it("keeps the sample's type in half precision", async () => {
    for (const name of SCHEDULER_NAMES) {
      const scheduler = schedulerFromClassName(name).fromConfig({ thresholding: true });
      scheduler.setTimesteps(4);
      const half = await (await draw(1)).to({ dtype: "bfloat16" });
      const result = await scheduler.step(half, scheduler.timesteps[0]!, half, { predOriginalSample: true });
      expect([name, result.prevSample.dtype]).toEqual([name, "bfloat16"]);
    }
  });
});

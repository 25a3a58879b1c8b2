import { describe, expect, it } from "vitest";
import {
  DDIMScheduler,
  DDPMScheduler,
  DPMSolverMultistepScheduler,
  EulerDiscreteScheduler,
  LCMScheduler,
  PNDMScheduler,
  SCHEDULER_NAMES,
  schedulerFromClassName,
  UniPCMultistepScheduler,
} from "../../lib/schedulers/index.js";

const invalid = (text: string) =>
  expect.objectContaining({ code: "ERR_INVALID_ARGUMENT", message: expect.stringContaining(text) });

describe("setTimesteps", () => {
  it.each(SCHEDULER_NAMES)("%s takes 1..num_train_timesteps steps and says so otherwise", (name) => {
    const scheduler = schedulerFromClassName(name).fromConfig({
      num_train_timesteps: 50,
      original_inference_steps: 50,
      skip_prk_steps: true,
    });
    for (const steps of [0, -1, 51, 2.5, Number.NaN, Infinity, "5" as never])
      expect(() => scheduler.setTimesteps(steps)).toThrow(
        invalid("is not a whole number in 1..50 (num_train_timesteps)"),
      );
    expect(() => scheduler.setTimesteps()).toThrow(invalid("setTimesteps needs numInferenceSteps"));
    for (const steps of [1, 2, 3, 49, 50]) {
      if (name === "UnCLIPScheduler" && steps === 1) {
        expect(() => scheduler.setTimesteps(steps)).toThrow(invalid("is at least 2"));
        continue;
      }
      scheduler.setTimesteps(steps);
      expect(scheduler.numInferenceSteps).toBe(steps);
      expect(scheduler.timesteps.length).toBeGreaterThanOrEqual(steps);
    }
  });

  it("has stricter rules where the method has", () => {
    expect(() => new PNDMScheduler().setTimesteps(3)).toThrow(invalid("3 is fewer than 4, which skip_prk_steps false"));
    expect(() => new LCMScheduler().setTimesteps(51)).toThrow(
      invalid("is more than the 50 of original_inference_steps"),
    );
    expect(() => new LCMScheduler().setTimesteps(20, { strength: 0.3 })).toThrow(invalid("more than the 15 of"));
    expect(() => new LCMScheduler().setTimesteps(2, { strength: 0 })).toThrow(invalid("strength 0 is not"));
    expect(() => new LCMScheduler().setTimesteps(2, { originalInferenceSteps: 1001 })).toThrow(invalid("1001 is not"));
    const leading = DPMSolverMultistepScheduler.fromConfig({ timestep_spacing: "leading" });
    expect(() => leading.setTimesteps(1000)).toThrow(invalid('1000 with timestep_spacing "leading" is not below 1000'));
  });

  it("refuses an offset that leaves the noise schedule before the first step", () => {
    const ddim = DDIMScheduler.fromConfig({ steps_offset: 1 });
    expect(() => ddim.setTimesteps(1000)).toThrow(invalid("timestep 1000 lies outside 0..999"));
    ddim.setTimesteps(999);
    expect(ddim.timesteps[0]).toBe(999);
  });

  it("spaces 'trailing' steps without the step to timestep −1 that NumPy's arange adds", () => {
    for (const name of SCHEDULER_NAMES.filter((n) => n !== "LCMScheduler")) {
      const scheduler = schedulerFromClassName(name).fromConfig({ timestep_spacing: "trailing", skip_prk_steps: true });
      for (const steps of [61, 103, 121]) {
        scheduler.setTimesteps(steps);
        expect(new Set(scheduler.timesteps).size).toBe(steps);
        if (scheduler.betas.length > 0) expect(Math.min(...scheduler.timesteps)).toBeGreaterThanOrEqual(0);
      }
    }
  });

  it("accepts custom schedules exactly where diffusers does", () => {
    const timesteps = [900, 500, 100];
    for (const name of SCHEDULER_NAMES) {
      const scheduler = schedulerFromClassName(name).fromConfig({});
      const known = ["DDPM", "EulerDiscrete", "HeunDiscrete", "DPMSolverMultistep", "LCM"].some(
        (n) => name === `${n}Scheduler`,
      );
      if (!known) {
        expect(() => scheduler.setTimesteps(null, { timesteps })).toThrow(invalid('takes no option "timesteps"'));
        continue;
      }
      scheduler.setTimesteps(null, { timesteps });
      expect([...new Set(scheduler.timesteps)]).toEqual(timesteps);
      expect(scheduler.numInferenceSteps).toBe(3);
      expect(() => scheduler.setTimesteps(3, { timesteps })).toThrow(
        invalid("only one of numInferenceSteps and timesteps"),
      );
      for (const broken of [[], [1, Number.NaN], "12" as never, [5, -1]])
        expect(() => scheduler.setTimesteps(null, { timesteps: broken })).toThrow(invalid("timesteps"));
    }
    expect(() => new DDPMScheduler().setTimesteps(null, { timesteps: [1, 2] })).toThrow(invalid("2 follows 1"));
    expect(() => new DDPMScheduler().setTimesteps(null, { timesteps: [1000, 2] })).toThrow(
      invalid("1000 lies outside"),
    );
    expect(() => new DDPMScheduler().setTimesteps(null, { timesteps: [9.5, 2] })).toThrow(
      invalid("9.5 is not a whole"),
    );
    const karras = EulerDiscreteScheduler.fromConfig({ use_karras_sigmas: true });
    expect(() => karras.setTimesteps(null, { timesteps })).toThrow(invalid("cannot be combined"));
    expect(() => karras.setTimesteps(null, { sigmas: [1] })).toThrow(invalid("sigmas needs"));
    expect(() => new UniPCMultistepScheduler().setTimesteps(null, { sigmas: [0.5] })).toThrow(
      invalid("need use_flow_sigmas"),
    );
  });

  it("shifts dynamically only if given the shift", () => {
    const config = { use_flow_sigmas: true, prediction_type: "flow_prediction", use_dynamic_shifting: true };
    const unipc = UniPCMultistepScheduler.fromConfig(config);
    expect(() => unipc.setTimesteps(4)).toThrow(invalid("needs mu"));
    expect(() => UniPCMultistepScheduler.fromConfig({}).setTimesteps(4, { mu: 1 })).toThrow(invalid("mu"));
    const dpm = DPMSolverMultistepScheduler.fromConfig(config);
    const shifted = DPMSolverMultistepScheduler.fromConfig({ ...config, flow_shift: Math.exp(0.7) });
    dpm.setTimesteps(4, { mu: 0.7 });
    shifted.setTimesteps(4);
    expect(dpm.sigmas).toEqual(shifted.sigmas);
  });

  it("starts from the whole training schedule", () => {
    expect(new DDPMScheduler().timesteps.slice(0, 2)).toEqual([999, 998]);
    expect(new EulerDiscreteScheduler().timesteps.length).toBe(1000);
    expect(new PNDMScheduler().timesteps).toEqual([]);
  });
});

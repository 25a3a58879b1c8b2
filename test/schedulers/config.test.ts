import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isInstructPix2PixError } from "../../lib/core/errors.js";
import {
  DDIMScheduler,
  DDPMScheduler,
  DPMSolverMultistepScheduler,
  EDMDPMSolverMultistepScheduler,
  EDMEulerScheduler,
  EulerAncestralDiscreteScheduler,
  EulerDiscreteScheduler,
  HeunDiscreteScheduler,
  LCMScheduler,
  LMSDiscreteScheduler,
  PNDMScheduler,
  SCHEDULER_NAMES,
  schedulerFromClassName,
  UniPCMultistepScheduler,
} from "../../lib/schedulers/index.js";

const refusal = (make: () => unknown): string => {
  try {
    make();
  } catch (error) {
    if (isInstructPix2PixError(error, "ERR_CONFIG")) return error.message;
    throw error;
  }
  throw new Error("nothing was refused");
};

describe("scheduler configurations", () => {
  it("contain only the keys given, so that another class does not get their defaults", () => {
    const ddim = DDIMScheduler.fromConfig({ beta_start: 0.00085, steps_offset: 1 });
    expect(ddim.config).toEqual({ beta_start: 0.00085, steps_offset: 1 });
    const euler = EulerDiscreteScheduler.fromConfig({ ...ddim.config, timestep_spacing: "trailing" });
    expect(euler.config).toEqual({ beta_start: 0.00085, steps_offset: 1, timestep_spacing: "trailing" });
    expect(DDIMScheduler.fromConfig(ddim.config, { steps_offset: 0 }).config).toEqual({
      beta_start: 0.00085,
      steps_offset: 0,
    });
  });

  it("keep other classes' keys that a class does not use", () => {
    const config = {
      skip_prk_steps: true,
      algorithm_type: "dpmsolver++",
      clip_sample: false,
      _diffusers_version: "0.6.0",
    };
    const there = PNDMScheduler.fromConfig({ ...config, _class_name: "PNDMScheduler" });
    const back = PNDMScheduler.fromConfig(EulerDiscreteScheduler.fromConfig(there.config).config);
    expect(back.config).toEqual({ ...config, _class_name: "PNDMScheduler" });
    back.setTimesteps(3);
    expect(back.timesteps).toEqual([666, 333, 333, 0]);
  });

  it("name the class that was made", () => {
    const config = { _class_name: "PNDMScheduler" };
    expect(EulerDiscreteScheduler.fromConfig(config).config._class_name).toBe("EulerDiscreteScheduler");
    expect(EulerDiscreteScheduler.fromConfig({}).config).toEqual({});
  });

  it("leave out values that a file marks as defaults", () => {
    const config = { _use_default_values: ["timestep_spacing"], timestep_spacing: "leading", beta_start: 0.001 };
    const euler = EulerDiscreteScheduler.fromConfig(config);
    expect(euler.config).toEqual({ beta_start: 0.001 });
    euler.setTimesteps(2);
    expect(euler.timesteps).toEqual([999, 0]); // linspace, Euler's own default
  });

  it("are immutable copies", () => {
    const given = { beta_start: 0.001 };
    const ddpm = DDPMScheduler.fromConfig(given);
    given.beta_start = 5;
    expect(ddpm.config).toEqual({ beta_start: 0.001 });
    expect(Object.isFrozen(ddpm.config)).toBe(true);
  });

  it("translate other classes' solver names", () => {
    expect(DPMSolverMultistepScheduler.fromConfig({ solver_type: "bh2" }).config.solver_type).toBe("midpoint");
    expect(UniPCMultistepScheduler.fromConfig({ solver_type: "midpoint" }).config.solver_type).toBe("bh2");
  });

  it("read null as diffusers' files use it", () => {
    const nothing = { trained_betas: null, sigma_min: null, variance_type: null, clip_sample: null, solver_p: null };
    for (const name of SCHEDULER_NAMES) expect(() => schedulerFromClassName(name).fromConfig(nothing)).not.toThrow();
  });

  it("of EDM have no noise schedule, whose keys are ignored", () => {
    const edm = EDMEulerScheduler.fromConfig({ beta_start: 5, trained_betas: "none" });
    expect(edm.betas.length + edm.alphasCumprod.length).toBe(0);
    expect(edm.timesteps).toHaveLength(1001);
    const third = EDMDPMSolverMultistepScheduler.fromConfig({ algorithm_type: "sde-dpmsolver++", solver_order: 3 });
    expect(refusal(() => third.setTimesteps(20))).toContain("which has orders 1 and 2");
    third.setTimesteps(2);
    expect(third.timesteps).toHaveLength(2);
  });

  it("accept infinity where it makes sense", () => {
    const open = DPMSolverMultistepScheduler.fromConfig({ lambda_min_clipped: -Infinity });
    open.setTimesteps(5);
    expect(open.timesteps).toEqual([999, 799, 599, 400, 200]);
  });

  const linear = ["linear", "scaled_linear", "squaredcos_cap_v2"];
  it.each([
    [DDPMScheduler, { beta_schedule: "cosine" }, 'beta_schedule "cosine" is not one of linear,'],
    [DDIMScheduler, { beta_schedule: "sigmoid" }, `beta_schedule "sigmoid" is not one of ${linear.join(", ")}`],
    [DDPMScheduler, { num_train_timesteps: 0 }, "num_train_timesteps 0 is not a whole number in 1..100000"],
    [DDPMScheduler, { num_train_timesteps: 1e12 }, "num_train_timesteps 1000000000000 is not"],
    [DDPMScheduler, { num_train_timesteps: 10.5 }, "num_train_timesteps 10.5 is not"],
    [DDPMScheduler, { num_train_timesteps: "1000" }, 'num_train_timesteps "1000" is not'],
    [EulerDiscreteScheduler, { beta_start: Number.NaN }, "beta_start NaN is not a number in 0..1"],
    [EulerDiscreteScheduler, { beta_end: Infinity }, "beta_end Infinity is not a number in 0..1"],
    [EulerDiscreteScheduler, { trained_betas: [0.1, Number.NaN] }, "element 1, NaN, is not a number in 0..1"],
    [EulerDiscreteScheduler, { trained_betas: "many" }, 'trained_betas "many" is not a list'],
    [EulerDiscreteScheduler, { trained_betas: [0.1] }, "trained_betas [0.1] has 1 values, num_train_timesteps is 1000"],
    [
      LMSDiscreteScheduler,
      { num_train_timesteps: 2, trained_betas: [0.1, 1] },
      "trained_betas [0.1,1] leaves no signal at timestep 1",
    ],
    [EulerDiscreteScheduler, { use_karras_sigmas: 1 }, "use_karras_sigmas 1 is not true or false"],
    [
      HeunDiscreteScheduler,
      { use_karras_sigmas: true, use_beta_sigmas: true },
      "use_beta_sigmas true cannot be combined with use_karras_sigmas",
    ],
    [
      EulerDiscreteScheduler,
      { num_train_timesteps: 1, use_karras_sigmas: true },
      "needs num_train_timesteps of at least 2",
    ],
    [
      EulerDiscreteScheduler,
      { num_train_timesteps: 1, rescale_betas_zero_snr: true },
      "rescale_betas_zero_snr true is not",
    ],
    [EulerAncestralDiscreteScheduler, { prediction_type: "sample" }, 'prediction_type "sample" is not one of epsilon,'],
    [PNDMScheduler, { prediction_type: "sample" }, 'prediction_type "sample" is not one of'],
    [DDIMScheduler, { prediction_type: "flow_prediction" }, 'prediction_type "flow_prediction" is not one of'],
    [DDIMScheduler, { dynamic_thresholding_ratio: 1.5 }, "dynamic_thresholding_ratio 1.5 is not a number in 0..1"],
    [
      DDIMScheduler,
      { timestep_spacing: "karras" },
      'timestep_spacing "karras" is not one of leading, linspace, trailing',
    ],
    [DPMSolverMultistepScheduler, { solver_order: 4 }, "solver_order 4 is not a whole number in 1..3"],
    [DPMSolverMultistepScheduler, { algorithm_type: "dpmsolver" }, 'final_sigmas_type "zero" is not possible'],
    [DPMSolverMultistepScheduler, { lambda_min_clipped: Number.NaN }, "lambda_min_clipped NaN is not a number"],
    [UniPCMultistepScheduler, { predict_x0: false }, 'final_sigmas_type "zero" is not possible with predict_x0 false'],
    [UniPCMultistepScheduler, { shift_terminal: 0.1 }, "shift_terminal 0.1 needs use_flow_sigmas"],
    [UniPCMultistepScheduler, { solver_p: {} }, "solver_p {} is not supported"],
    [UniPCMultistepScheduler, { disable_corrector: [0, 0.5] }, "element 1, 0.5, is not a whole number"],
    [EDMEulerScheduler, { sigma_min: 0 }, "sigma_min 0 is not a number above 0"],
    [
      EDMEulerScheduler,
      { rho: 0.001 },
      "sigma_max 80 and the other keys of noise levels give levels that are not finite",
    ],
    [EDMEulerScheduler, { prediction_type: "sample" }, 'prediction_type "sample" is not one of epsilon, v_prediction'],
    [EDMEulerScheduler, { sigma_schedule: "beta" }, 'sigma_schedule "beta" is not one of karras, exponential'],
    [EDMDPMSolverMultistepScheduler, { algorithm_type: "dpmsolver" }, 'algorithm_type "dpmsolver" is not one of'],
    [LCMScheduler, { original_inference_steps: 0 }, "original_inference_steps 0 is not a whole number of at least 1"],
  ])("%o refuses %o by key and value", (Class, config, message) => {
    const text = refusal(() => Class.fromConfig(config));
    expect(text).toContain(message);
    expect(text.startsWith(`${Class.name}: `)).toBe(true);
    expect(text).not.toContain("\n");
  });

  it("refuse a third-order sde-dpmsolver before the first step is taken", () => {
    const config = { algorithm_type: "sde-dpmsolver", solver_order: 3, final_sigmas_type: "sigma_min" };
    const solver = DPMSolverMultistepScheduler.fromConfig(config);
    expect(refusal(() => solver.setTimesteps(20))).toContain(
      'solver_order 3 is not possible with algorithm_type "sde-d',
    );
    solver.setTimesteps(4); // short runs go no higher than the second order
  });

  it("that are not an object are refused", () => {
    for (const config of [null, [], "x", 5])
      expect(refusal(() => DDPMScheduler.fromConfig(config as never))).toContain("is not an object");
  });

  it("of any content end in a scheduler or a typed error", () => {
    const keys = [
      ...["num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas", "prediction_type"],
      ...["timestep_spacing", "steps_offset", "use_karras_sigmas", "use_exponential_sigmas", "sigma_min", "sigma_max"],
      ...["solver_order", "algorithm_type", "final_sigmas_type", "lambda_min_clipped", "variance_type", "clip_sample"],
      ...["rescale_betas_zero_snr", "original_inference_steps", "__proto__", "constructor", "_class_name", "toString"],
    ];
    const value = fc.oneof(
      fc.constantFrom(null, true, false, 0, 1, 2, 3, 10, 0.5, -1, 1e9, Number.NaN, Infinity, -Infinity, "", "zero"),
      fc.constantFrom("linear", "scaled_linear", "sigma_min", "dpmsolver", "v_prediction", "sample", "leading"),
      fc.double(),
      fc.array(fc.double({ min: 0, max: 1 }), { maxLength: 3 }),
      fc.object({ maxDepth: 1 }),
    );
    fc.assert(
      fc.property(
        fc.constantFrom(...SCHEDULER_NAMES),
        fc.dictionary(fc.constantFrom(...keys), value),
        fc.integer({ min: -2, max: 1100 }),
        (name, config, steps) => {
          try {
            const scheduler = schedulerFromClassName(name).fromConfig({ num_train_timesteps: 12, ...config });
            scheduler.setTimesteps(steps);
            expect(scheduler.timesteps.length).toBeGreaterThan(0);
            expect(scheduler.timesteps.every(Number.isFinite)).toBe(true);
            expect(Number.isFinite(scheduler.initNoiseSigma)).toBe(true);
          } catch (error) {
            if (!isInstructPix2PixError(error)) throw error;
            expect(["ERR_CONFIG", "ERR_INVALID_ARGUMENT"]).toContain(error.code);
          }
        },
      ),
      { numRuns: 1500 },
    );
  });
});

import { InstructPix2PixError } from "../core/errors.js";
import type { Generator } from "../core/generator.js";
import { checkKnown, optionNames } from "../core/known-options.js";
import type { Tensor } from "../core/tensor.js";

/** Options of `setTimesteps` besides the number of steps. A class refuses options that it does not support. */
export interface SetTimestepsOptions {
  /** The timesteps to visit, descending, instead of a number of steps (DDPM, Euler, Heun, DPM-Solver, LCM). */
  timesteps?: readonly number[];
  /** The noise levels to visit instead of a number of steps: Euler (with the final 0), UniPC (flow matching only). */
  sigmas?: readonly number[];
  /** Logarithm of the shift of flow-matching noise levels, for `use_dynamic_shifting` (DPM-Solver, UniPC). */
  mu?: number;
  /** LCM: the part of the distillation schedule that is used, in 0..1 (default 1). */
  strength?: number;
  /** LCM: steps of the distillation schedule, instead of the configured `original_inference_steps`. */
  originalInferenceSteps?: number;
}

const SET_TIMESTEPS_OPTIONS = optionNames<SetTimestepsOptions>()({
  timesteps: true,
  sigmas: true,
  mu: true,
  strength: true,
  originalInferenceSteps: true,
});

/** Options of `step` besides its tensors. A class ignores options that do not apply to it. */
export interface StepOptions {
  /** Source of noise: one generator for the batch or one per row; default: libtorch's default generator. */
  generator?: Generator | readonly Generator[];
  /** Also return the prediction of x_0. */
  predOriginalSample?: boolean;
  /** DDIM: share of DDPM's noise, from 0 (deterministic, the default) to 1. */
  eta?: number;
  /** DDIM: recompute the noise prediction from the clipped x_0. */
  useClippedModelOutput?: boolean;
  /** DDIM with `eta`, stochastic DPM-Solver: the noise to use instead of a random draw, shape of the sample. */
  varianceNoise?: Tensor;
  /** Euler: noise added in each step with `sTmin ≤ σ ≤ sTmax`, scaled by `sNoise` (Karras et al. 2022, algorithm 2). */
  sChurn?: number;
  sTmin?: number;
  sTmax?: number;
  sNoise?: number;
  /** UnCLIP: the timestep that the step leads to; default t − 1. */
  prevTimestep?: number;
  /** LMS: how many derivatives are combined (default 4). */
  order?: number;
}

const STEP_OPTIONS = optionNames<StepOptions>()({
  generator: true,
  predOriginalSample: true,
  eta: true,
  useClippedModelOutput: true,
  varianceNoise: true,
  sChurn: true,
  sTmin: true,
  sTmax: true,
  sNoise: true,
  prevTimestep: true,
  order: true,
});

/** The caller owns both tensors. */
export interface StepOutput {
  /** x at the next lower timestep; shape and dtype of the sample. */
  prevSample: Tensor;
  /** The prediction of x_0 at this step, if requested and supported by the class. */
  predOriginalSample?: Tensor;
}

const invalid = (className: string, message: string): never => {
  throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", `${className}: ${message}`);
};

/**
 * Validates the arguments of `setTimesteps`: a step count or one of the custom schedules in `known`, and no unsupported
 * options.
 */
export function checkSetTimesteps(
  className: string,
  count: number | null | undefined,
  options: SetTimestepsOptions,
  known: readonly (keyof SetTimestepsOptions)[] = [],
): void {
  checkKnown(options, SET_TIMESTEPS_OPTIONS);
  for (const [name, value] of Object.entries(options)) {
    if (value !== undefined && !known.includes(name as keyof SetTimestepsOptions))
      invalid(className, `setTimesteps takes no option "${name}"`);
  }
  const sources = [
    ...(count === null || count === undefined ? [] : ["numInferenceSteps"]),
    ...(["timesteps", "sigmas"] as const).filter((name) => options[name] !== undefined),
  ];
  if (sources.length > 1) invalid(className, `setTimesteps takes only one of ${sources.join(" and ")}`);
  const custom = known.filter((name) => name === "timesteps" || name === "sigmas");
  if (sources.length === 0) invalid(className, `setTimesteps needs ${["numInferenceSteps", ...custom].join(" or ")}`);
  for (const name of ["timesteps", "sigmas"] as const) {
    const values = options[name];
    if (values === undefined) continue;
    if (!Array.isArray(values) || values.length === 0) invalid(className, `${name} is not a list of numbers`);
    const broken = values.findIndex((value) => typeof value !== "number" || !Number.isFinite(value) || value < 0);
    if (broken >= 0) invalid(className, `${name}[${broken}] ${String(values[broken])} is not a number of at least 0`);
  }
}

/** Refuses options of `step` that no class has. */
export function checkStepOptions(options: StepOptions): void {
  checkKnown(options, STEP_OPTIONS);
}

/** A number option of `step`, checked. */
export function numberOption(className: string, name: string, value: number | undefined, fallback: number): number {
  if (value === undefined) return fallback;
  if (typeof value === "number" && value >= 0) return value;
  return invalid(className, `${name} ${String(value)} is not a number of at least 0`);
}

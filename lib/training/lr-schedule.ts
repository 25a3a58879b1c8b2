import { InstructPix2PixError } from "../core/errors.js";
import { parseStepRules } from "./lr-step-rules.js";

/** The learning-rate schedules by diffusers' names. */
export const LR_SCHEDULES = [
  "linear",
  "cosine",
  "cosine_with_restarts",
  "polynomial",
  "constant",
  "constant_with_warmup",
  "piecewise_constant",
] as const;
export type LrScheduleName = (typeof LR_SCHEDULES)[number];

/** Steps are schedule steps, which equal optimizer steps with one process. */
export interface LrScheduleOptions {
  /** Steps over which the rate rises from 0; needed by all but `constant` and `piecewise_constant`. */
  numWarmupSteps?: number | undefined;
  /** The last step of the decay; needed by `linear`, `cosine`, `cosine_with_restarts`, `polynomial`. */
  numTrainingSteps?: number | undefined;
  /** Number of cycles of `cosine_with_restarts`; default 1. `cosine` always has one. */
  numCycles?: number | undefined;
  /** The exponent of `polynomial`; default 1. */
  power?: number | undefined;
  /** The base rate; needed by `polynomial`. */
  learningRate?: number | undefined;
  /** The rate at which `polynomial` ends, below `learningRate`; default 1e-7. */
  lrEnd?: number | undefined;
  /** The rules of `piecewise_constant`, e.g. `1:10,0.1:20,0.01`: 1 before step 10, 0.1 before step 20, 0.01 after. */
  stepRules?: string | undefined;
}

/** The factor of the learning rate at a step, counted from 0. */
export type LrSchedule = (step: number) => number;

const DEFAULT_LR_END = 1e-7;

/**
 * The schedules of diffusers' `get_scheduler`, computed in float64 with the same operations in the same order; only
 * cosine and power may differ between math libraries by a unit in the last place.
 *
 * Where diffusers divides by zero, because `polynomial` has no step between warm-up and the end of training, the rate
 * has its final value.
 *
 * @throws `ERR_INVALID_ARGUMENT` for an unknown name, or a missing or invalid option that this schedule needs
 */
export function createLrSchedule(name: LrScheduleName, options: LrScheduleOptions = {}): LrSchedule {
  switch (name) {
    case "constant":
      return () => 1;
    case "piecewise_constant":
      return piecewiseConstant(options);
    case "constant_with_warmup":
      return withWarmup(warmup(name, options), () => 1);
    case "linear":
      return linear(warmup(name, options), total(name, options));
    case "cosine":
      return cosine(warmup(name, options), total(name, options));
    case "cosine_with_restarts":
      return cosineWithRestarts(warmup(name, options), total(name, options), options);
    case "polynomial":
      return polynomial(warmup(name, options), total(name, options), options);
    default:
      throw invalid(`unknown learning-rate schedule "${String(name)}"; known: ${LR_SCHEDULES.join(", ")}`);
  }
}

function withWarmup(warmupSteps: number, after: LrSchedule): LrSchedule {
  return (step) => (step < warmupSteps ? step / Math.max(1, warmupSteps) : after(step));
}

function linear(warmupSteps: number, totalSteps: number): LrSchedule {
  const decay = Math.max(1, totalSteps - warmupSteps);
  return withWarmup(warmupSteps, (step) => Math.max(0, (totalSteps - step) / decay));
}

function cosine(warmupSteps: number, totalSteps: number): LrSchedule {
  const decay = Math.max(1, totalSteps - warmupSteps);
  return withWarmup(warmupSteps, (step) => halfCosine((step - warmupSteps) / decay));
}

function cosineWithRestarts(warmupSteps: number, totalSteps: number, options: LrScheduleOptions): LrSchedule {
  const cycles = options.numCycles ?? 1;
  if (!(cycles > 0 && Number.isFinite(cycles))) throw invalid(`the number of cycles must be above 0, not ${cycles}`);
  const decay = Math.max(1, totalSteps - warmupSteps);
  return withWarmup(warmupSteps, (step) => {
    const progress = (step - warmupSteps) / decay;
    return progress >= 1 ? 0 : halfCosine((cycles * progress) % 1);
  });
}

/** From 1 at progress 0 down to 0 at progress 1, and up again. */
function halfCosine(progress: number): number {
  return Math.max(0, 0.5 * (1 + Math.cos(Math.PI * progress)));
}

function polynomial(warmupSteps: number, totalSteps: number, options: LrScheduleOptions): LrSchedule {
  const { learningRate, lrEnd = DEFAULT_LR_END, power = 1 } = options;
  if (learningRate === undefined) throw invalid("the schedule polynomial needs the learning rate");
  if (!(Number.isFinite(lrEnd) && learningRate > lrEnd))
    throw invalid(`the schedule polynomial ends at a learning rate of ${lrEnd}, which must be below ${learningRate}`);
  if (!(power >= 0 && Number.isFinite(power))) throw invalid(`the power must be at least 0, not ${power}`);
  const decay = totalSteps - warmupSteps;
  return withWarmup(warmupSteps, (step) => {
    if (step > totalSteps || decay === 0) return lrEnd / learningRate;
    const remaining = 1 - (step - warmupSteps) / decay;
    return ((learningRate - lrEnd) * remaining ** power + lrEnd) / learningRate;
  });
}

function piecewiseConstant({ stepRules }: LrScheduleOptions): LrSchedule {
  if (stepRules === undefined) throw invalid("the schedule piecewise_constant needs its rules (lrStepRules)");
  const { pieces, last } = parseStepRules(stepRules);
  return (step) => pieces.find(({ end }) => step < end)?.multiplier ?? last;
}

function warmup(name: LrScheduleName, { numWarmupSteps }: LrScheduleOptions): number {
  return needed(name, "the number of warm-up steps", numWarmupSteps);
}

function total(name: LrScheduleName, { numTrainingSteps }: LrScheduleOptions): number {
  return needed(name, "the number of training steps", numTrainingSteps);
}

function needed(name: LrScheduleName, what: string, value: number | undefined): number {
  if (value === undefined) throw invalid(`the schedule ${name} needs ${what}`);
  if (!Number.isSafeInteger(value) || value < 0) throw invalid(`${what} must be a whole number, not ${value}`);
  return value;
}

function invalid(message: string): InstructPix2PixError {
  return new InstructPix2PixError("ERR_INVALID_ARGUMENT", message);
}

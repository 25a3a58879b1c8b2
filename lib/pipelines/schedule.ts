import { InstructPix2PixError } from "../core/errors.js";
import { roundHalfEven } from "../schedulers/float32.js";
import type { Scheduler } from "../schedulers/scheduler.js";
import type { ScheduleCall } from "./call.js";

/**
 * Sets a scheduler's steps: by their number, or one by one.
 *
 * @returns the number of inference steps
 * @throws `ERR_INVALID_ARGUMENT` for steps that the scheduler does not support
 */
export function setSchedule(scheduler: Scheduler, { numInferenceSteps, timesteps, sigmas }: ScheduleCall): number {
  if (timesteps) scheduler.setTimesteps(null, { timesteps });
  else if (sigmas) scheduler.setTimesteps(null, { sigmas });
  else scheduler.setTimesteps(numInferenceSteps);
  return timesteps || sigmas ? scheduler.timesteps.length : numInferenceSteps;
}

/** The timestep that a fraction of the denoising reaches, rounded as Python does. */
function timestepAt(scheduler: Scheduler, fraction: number): number {
  const total = Number(scheduler.setting("num_train_timesteps"));
  return roundHalfEven(total - fraction * total);
}

/**
 * The part of a schedule that another model leaves over, which denoised up to a fraction (Podell et al. 2023, "SDXL",
 * https://arxiv.org/abs/2307.01952, section 2.5). Sets the scheduler's steps and where it begins.
 *
 * @param denoisingStart in 0..1, both excluded
 * @returns the timesteps to visit
 * @throws `ERR_INVALID_ARGUMENT` if no step is left
 */
export function setScheduleFrom(scheduler: Scheduler, call: ScheduleCall, denoisingStart: number): number[] {
  setSchedule(scheduler, call);
  const { timesteps } = scheduler;
  const cutoff = timestepAt(scheduler, denoisingStart);
  let count = timesteps.filter((timestep) => timestep < cutoff).length;
  // A step of a second-order scheduler is never begun in its middle.
  if (scheduler.order === 2 && count % 2 === 0) count++;
  const start = timesteps.length - count;
  if (count === 0) throw noStepsLeft(`denoisingStart ${denoisingStart}`);
  scheduler.setBeginIndex(start);
  return timesteps.slice(start);
}

/**
 * The timesteps up to a fraction of the denoising, after which another model goes on; see {@link setScheduleFrom}.
 *
 * @param denoisingEnd above 0, at most 1, which leaves out nothing; undefined likewise
 * @throws `ERR_INVALID_ARGUMENT` if no step is left
 */
export function stepsUntil(
  scheduler: Scheduler,
  timesteps: readonly number[],
  denoisingEnd: number | undefined,
): readonly number[] {
  if (denoisingEnd === undefined || denoisingEnd === 1) return timesteps;
  const cutoff = timestepAt(scheduler, denoisingEnd);
  const kept = timesteps.slice(0, timesteps.filter((timestep) => timestep >= cutoff).length);
  if (kept.length === 0) throw noStepsLeft(`denoisingEnd ${denoisingEnd}`);
  return kept;
}

function noStepsLeft(what: string): InstructPix2PixError {
  return new InstructPix2PixError("ERR_INVALID_ARGUMENT", `${what} leaves no step: give a larger numInferenceSteps`);
}

/**
 * The part of a schedule that starts from a noised image (Meng et al. 2022, "SDEdit", https://arxiv.org/abs/2108.01073): the
 * last `steps · strength` steps, rounded down as floating point numbers are. Sets the scheduler's steps and where it begins.
 *
 * @param strength in 0..1; 1 takes all steps
 * @param options.whole refuses what is less than one step, also where the scheduler has timesteps beside its steps (PNDM)
 * @returns the timesteps to visit
 * @throws `ERR_INVALID_ARGUMENT` if no step is left
 */
export function setPartialSchedule(
  scheduler: Scheduler,
  call: ScheduleCall,
  strength: number,
  { whole = false }: { whole?: boolean } = {},
): number[] {
  const steps = setSchedule(scheduler, call);
  const taken = Math.min(Math.floor(steps * strength), steps);
  if (whole && taken < 1) throw noStepLeft(strength, steps);
  const start = (steps - taken) * scheduler.order;
  const timesteps = scheduler.timesteps.slice(start);
  if (timesteps.length === 0) throw noStepLeft(strength, steps);
  scheduler.setBeginIndex(start);
  return timesteps;
}

/** The error for a strength that leaves no step, with the least that does. */
function noStepLeft(strength: number, steps: number): InstructPix2PixError {
  const least = Math.ceil(10_000 / steps) / 10_000;
  return new InstructPix2PixError(
    "ERR_INVALID_ARGUMENT",
    `strength ${strength} leaves none of the ${steps} steps: it must be at least ${least}, or numInferenceSteps larger`,
  );
}

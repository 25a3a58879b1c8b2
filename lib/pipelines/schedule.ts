import { InstructPix2PixError } from "../core/errors.js";
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

/**
 * The part of a schedule that starts from a noised picture (Meng et al. 2022, "SDEdit", https://arxiv.org/abs/2108.01073): the
 * last `steps · strength` steps, rounded down as floating point numbers are. Sets the scheduler's steps and where it begins.
 *
 * @param strength in 0..1; 1 takes all steps
 * @returns the timesteps to visit
 * @throws `ERR_INVALID_ARGUMENT` if no step is left
 */
export function setPartialSchedule(scheduler: Scheduler, call: ScheduleCall, strength: number): number[] {
  const steps = setSchedule(scheduler, call);
  const start = Math.max(steps - Math.min(Math.floor(steps * strength), steps), 0) * scheduler.order;
  const timesteps = scheduler.timesteps.slice(start);
  if (timesteps.length === 0)
    throw new InstructPix2PixError(
      "ERR_INVALID_ARGUMENT",
      `strength ${strength} leaves none of the ${steps} steps: it must be at least ${1 / steps}, or numInferenceSteps larger`,
    );
  scheduler.setBeginIndex(start);
  return timesteps;
}

import { checkSchedule } from "../../pipelines/call.js";
import type { ScheduleOptions } from "../../pipelines/run-options.js";
import { setPartialSchedule, setSchedule, stepsUntil } from "../../pipelines/schedule.js";
import type { Scheduler } from "../../schedulers/scheduler.js";
import { denoisingEndOf } from "../pictures/xl-options.js";
import type { GenerateValues } from "./options.js";

/** The options of a run that set its steps one by one. */
export function scheduleOptions({ timesteps, sigmas }: GenerateValues): ScheduleOptions {
  return { timesteps, sigmas };
}

/**
 * Refuses steps that a scheduler cannot take.
 *
 * @param strength of an image's noise; undefined without an image
 * @throws `ERR_INVALID_ARGUMENT`
 */
export function tryTheSchedule(scheduler: Scheduler, values: GenerateValues, strength?: number): void {
  using trial = scheduler.clone();
  const call = checkSchedule(scheduleOptions(values), values.numInferenceSteps);
  const timesteps = strength === undefined ? undefined : setPartialSchedule(trial, call, strength);
  if (!timesteps) setSchedule(trial, call);
  stepsUntil(trial, timesteps ?? trial.timesteps, denoisingEndOf(values));
}

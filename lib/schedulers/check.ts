import { describe } from "../core/arguments.js";
import { InstructPix2PixError } from "../core/errors.js";
import { nearestName } from "../options/names.js";
import { SCHEDULER_NAMES } from "./registry.js";
import type { Scheduler } from "./scheduler.js";

/**
 * A component that must be a scheduler, of this copy of the package or of another.
 *
 * @throws `ERR_INVALID_ARGUMENT` saying how a scheduler is made, for the name of a class and the class itself
 */
export function checkedScheduler(scheduler: Scheduler): Scheduler {
  const { setTimesteps, step } = Object(scheduler) as Partial<Scheduler>;
  if (typeof setTimesteps === "function" && typeof step === "function") return scheduler;
  const named = nameOf(scheduler);
  const name = (named === undefined ? undefined : nearestName(named, SCHEDULER_NAMES)) ?? "EulerDiscreteScheduler";
  throw new InstructPix2PixError(
    "ERR_INVALID_ARGUMENT",
    `scheduler must be a scheduler, not ${describe(scheduler)}: give ${name}.fromConfig(pipe.scheduler.config)`,
  );
}

function nameOf(value: unknown): string | undefined {
  return typeof value === "string" ? value : typeof value === "function" ? value.name : undefined;
}

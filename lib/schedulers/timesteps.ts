import { InstructPix2PixError } from "../core/errors.js";
import { choice } from "./config.js";
import { roundHalfEven } from "./float32.js";
import { countdown, linspace } from "./numpy.js";

/** The spacing of timesteps over the training schedule (Lin et al. 2023, table 2). */
export type TimestepSpacing = "leading" | "linspace" | "trailing";

export const timestepSpacingKey = (fallback: TimestepSpacing) =>
  choice(["leading", "linspace", "trailing"] as const, fallback);

/** `count` evenly spaced values from `last` down to 0, both included; one step is 0 alone. */
export const linspaceTimesteps = (last: number, count: number): number[] => linspace(0, last, count).reverse();

/** Multiples of `stride` plus `offset`, `count` of them, descending: starts below the last training timestep. */
export const leadingTimesteps = (stride: number, count: number, offset: number): number[] =>
  Array.from({ length: count }, (_, i) => (count - 1 - i) * stride + offset);

/**
 * Counts down from `last` in steps of `stride` and subtracts one: starts at the last training timestep. NumPy's `arange`
 * yields one value too many where `last / stride` rounds up (61 steps of 1000, for one); that timestep −1 is left out.
 */
export const trailingTimesteps = (last: number, stride: number): number[] =>
  countdown(last, stride)
    .map((t) => roundHalfEven(t) - 1)
    .filter((t) => t >= 0);

export interface SpacingSettings {
  readonly num_train_timesteps: number;
  readonly timestep_spacing: TimestepSpacing;
  readonly steps_offset: number;
}

/** The spacing of the schedulers that step between `count` timesteps and end at 0; `linspace` may be fractional. */
export function spacedTimesteps(settings: SpacingSettings, count: number): number[] {
  const { num_train_timesteps: train, timestep_spacing: spacing, steps_offset: offset } = settings;
  switch (spacing) {
    case "linspace":
      return linspaceTimesteps(train - 1, count);
    case "leading":
      return leadingTimesteps(Math.floor(train / count), count, offset);
    case "trailing":
      return trailingTimesteps(train, train / count);
  }
}

/**
 * The spacing of the multistep solvers, which divide `last` training timesteps into `count + 1` points and drop the
 * lowest.
 */
export function solverTimesteps(
  className: string,
  settings: SpacingSettings,
  count: number,
  last = settings.num_train_timesteps,
): number[] {
  const { num_train_timesteps: train, timestep_spacing: spacing, steps_offset: offset } = settings;
  if (spacing === "leading" && last <= count)
    throw new InstructPix2PixError(
      "ERR_INVALID_ARGUMENT",
      `${className}: numInferenceSteps ${count} with timestep_spacing "leading" is not below ${last}, the training timesteps in use`,
    );
  switch (spacing) {
    case "linspace":
      return linspaceTimesteps(last - 1, count + 1)
        .slice(0, -1)
        .map(roundHalfEven);
    case "leading":
      return leadingTimesteps(Math.floor(last / (count + 1)), count + 1, offset).slice(0, -1);
    case "trailing":
      return trailingTimesteps(last, train / count);
  }
}

/** Throws `ERR_INVALID_ARGUMENT` unless `count` is a whole number in 1..num_train_timesteps. */
export function requireStepCount(className: string, count: unknown, trainTimesteps: number): number {
  if (Number.isSafeInteger(count) && (count as number) >= 1 && (count as number) <= trainTimesteps)
    return count as number;
  throw new InstructPix2PixError(
    "ERR_INVALID_ARGUMENT",
    `${className}: numInferenceSteps ${String(count)} is not a whole number in 1..${trainTimesteps} (num_train_timesteps)`,
  );
}

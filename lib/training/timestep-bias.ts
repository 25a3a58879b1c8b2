import { InstructPix2PixError } from "../core/errors.js";

/** Timesteps from `begin` up to but not including `end` are drawn `multiplier` times as often as each of the others. */
export interface TimestepBias {
  begin: number;
  end: number;
  multiplier: number;
}

export interface TimestepBiasOptions {
  timestepBiasStrategy: "none" | "earlier" | "later" | "range";
  timestepBiasMultiplier: number;
  timestepBiasPortion: number;
  timestepBiasBegin: number;
  timestepBiasEnd: number;
}

/**
 * The range of the timesteps 0..N−1 that is drawn more often, as in diffusers' text-to-image SDXL trainer: the first or
 * the last portion, or a given range.
 *
 * @returns undefined if all are equally likely
 * @throws `ERR_INVALID_ARGUMENT` for a range without a timestep, or a multiplier that is not positive
 */
export function timestepBias(options: TimestepBiasOptions, trainTimesteps: number): TimestepBias | undefined {
  const { timestepBiasStrategy: strategy, timestepBiasMultiplier: multiplier } = options;
  if (strategy === "none") return undefined;
  if (multiplier <= 0)
    throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", "timestepBiasMultiplier must be greater than 0");
  const biased = Math.trunc(options.timestepBiasPortion * trainTimesteps);
  const [begin, end] =
    strategy === "earlier"
      ? [0, biased]
      : strategy === "later"
        ? [trainTimesteps - biased, trainTimesteps]
        : [options.timestepBiasBegin, options.timestepBiasEnd];
  if (begin >= end || end > trainTimesteps)
    throw new InstructPix2PixError(
      "ERR_INVALID_ARGUMENT",
      `timestepBiasStrategy: the range from ${begin} to ${end} holds none of the ${trainTimesteps} timesteps`,
    );
  return { begin, end, multiplier };
}

/** Maps a uniform number in [0,1) to a timestep in 0..N−1. */
export function biasedTimestep(uniform: number, trainTimesteps: number, bias: TimestepBias): number {
  const { begin, end, multiplier } = bias;
  const weight = trainTimesteps + (multiplier - 1) * (end - begin);
  // In units of the weight of a timestep outside of the range.
  const at = uniform * weight;
  const after = at - begin - multiplier * (end - begin);
  const timestep = at < begin ? at : after < 0 ? begin + (at - begin) / multiplier : end + after;
  return Math.min(Math.floor(timestep), trainTimesteps - 1);
}

import { resolveDevice } from "../core/device.js";
import { InstructPix2PixError } from "../core/errors.js";
import type { TrainOptions } from "./options.js";

/**
 * Where a process computes: of several on one host, each on the CUDA device of its number among them.
 *
 * @param localRank undefined for a process that trains alone
 * @throws `ERR_INVALID_ARGUMENT`, `ERR_CUDA_UNAVAILABLE`
 */
export function trainingDevice(
  { device, compat }: Pick<TrainOptions, "device" | "compat">,
  localRank: number | undefined,
): string {
  const wanted = compat && device === "auto" ? "cpu" : device;
  if (localRank === undefined) return resolveDevice(wanted);
  if (/^cuda:/.test(wanted))
    throw new InstructPix2PixError(
      "ERR_INVALID_ARGUMENT",
      `device "${wanted}" is one for all processes; with "cuda" each takes that of its number on its host`,
    );
  const found = resolveDevice(wanted);
  return found === "cpu" ? found : resolveDevice(`cuda:${localRank}`);
}

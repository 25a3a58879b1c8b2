import { detectCudaDriver } from "../../runtime/libtorch/cuda-driver.js";
import type { Environment } from "../../runtime/platform.js";

/**
 * How many processes a host gets where nobody says how many: one for each GPU that `--gpu_ids` names, with `--multi_gpu` one for
 * each of the host (or of `CUDA_VISIBLE_DEVICES`), otherwise one.
 *
 * @param ids `--gpu_ids`, or that of accelerate's file
 */
export function processesOfHost(
  ids: string | undefined,
  isMultiGpu: boolean,
  env: Environment,
  countGpus = () => detectCudaDriver().devices.length,
): number {
  const count = (list: string) => list.split(",").filter((id) => id.trim() !== "").length;
  if (ids !== undefined && ids !== "all") return Math.max(1, count(ids));
  if (!isMultiGpu) return 1;
  const visible = env.CUDA_VISIBLE_DEVICES;
  return Math.max(1, visible === undefined ? countGpus() : count(visible));
}

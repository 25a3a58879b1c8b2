import type { CudaProperties, DeviceMemory } from "./native/contract.js";
import { native } from "./native/native.js";

/** A CUDA device of this machine. */
export interface CudaDevice extends CudaProperties {
  /** As the `device` option takes it: "cuda:0". */
  device: string;
}

/**
 * The CUDA devices that can be computed on; none without a CUDA libtorch, a driver or a GPU.
 *
 * @throws `ERR_CUDA_UNAVAILABLE` if there are some, but the package's CUDA library, which knows them, is not loaded
 */
export function cudaDevices(): CudaDevice[] {
  const { cudaDevices: count } = native().systemInfo();
  return Array.from({ length: count }, (_, index) => {
    const device = `cuda:${index}`;
    return { device, ...native().cudaProperties(device) };
  });
}

/**
 * Memory of a CUDA device once the work queued on it before is done with it, in bytes.
 *
 * @param device "cuda" or "cuda:N"
 * @throws `ERR_CUDA_UNAVAILABLE`, `ERR_INVALID_ARGUMENT` for the CPU
 */
export function deviceMemory(device = "cuda"): Promise<DeviceMemory> {
  return native().deviceMemory(device);
}

/** Has the peaks of {@link deviceMemory} begin anew. Throws as it does. */
export function resetPeakMemory(device = "cuda"): Promise<void> {
  return native().resetPeakMemory(device);
}

/**
 * Gives memory that no tensor holds back to the driver, for other programs: this one would use it again. Throws as
 * {@link deviceMemory} does.
 */
export function emptyCache(device = "cuda"): Promise<void> {
  return native().emptyCache(device);
}

/**
 * Waits until everything that was queued on a device is done, as one does before looking at a clock.
 *
 * @param device "cpu", "cuda" or "cuda:N"
 * @throws `ERR_CUDA_UNAVAILABLE`
 */
export function synchronize(device = "cuda"): Promise<void> {
  return native().synchronize(device);
}

/** The most that tensors have held of a device since the peak was reset, in bytes; undefined on the CPU. */
export async function peakDeviceMemory(device: string): Promise<number | undefined> {
  return device === "cpu" ? undefined : (await native().deviceMemory(device)).peakAllocated;
}

import type { CudaProperties, DeviceMemory } from "../runtime/contract/index.js";
import { native } from "../runtime/native.js";
import { listOfThisRealm } from "./realm.js";

/** A CUDA device of this machine. */
export interface CudaDevice extends CudaProperties {
  /** As the `device` option takes it: "cuda:0". */
  device: string;
}

/**
 * The CUDA devices that can be computed on; none without a CUDA libtorch, a driver or a GPU.
 *
 * @throws `ERR_CUDA_UNAVAILABLE` if there are devices, but the package's CUDA library is not loaded
 *
 * @example
 * ```js
 * import { cudaDevices } from "instruct-pix2pix";
 *
 * const devices = cudaDevices();
 * console.log(devices.length === 0 ? "no GPU" : devices.map(({ device }) => device));
 * ```
 */
export function cudaDevices(): CudaDevice[] {
  const { cudaDevices: count } = native().systemInfo();
  return Array.from({ length: count }, (_, index) => {
    const device = `cuda:${index}`;
    const { computeCapability, ...properties } = native().cudaProperties(device);
    return { device, ...properties, computeCapability: listOfThisRealm(computeCapability) };
  });
}

/**
 * Memory of a CUDA device in bytes, measured after the work queued before.
 *
 * @param device "cuda" or "cuda:N"
 * @throws `ERR_CUDA_UNAVAILABLE`, `ERR_INVALID_ARGUMENT` for the CPU
 *
 * @example
 * ```js
 * import { cudaDevices, deviceMemory } from "instruct-pix2pix";
 *
 * for (const { device } of cudaDevices()) console.log(device, await deviceMemory(device));
 * ```
 */
export async function deviceMemory(device = "cuda"): Promise<DeviceMemory> {
  return { ...(await native().deviceMemory(device)) };
}

/**
 * Resets the peaks of {@link deviceMemory} to the current values. Throws as it does.
 *
 * @example
 * ```js
 * import { cudaDevices, deviceMemory, resetPeakMemory } from "instruct-pix2pix";
 *
 * for (const { device } of cudaDevices()) {
 *   await resetPeakMemory(device);
 *   // what is to be measured
 *   console.log(await deviceMemory(device));
 * }
 * ```
 */
export async function resetPeakMemory(device = "cuda"): Promise<void> {
  return native().resetPeakMemory(device);
}

/**
 * Returns cached memory that no tensor uses to the driver, so that other programs can use it. Throws
 * as {@link deviceMemory} does.
 *
 * @example
 * ```js
 * import { cudaDevices, emptyCache } from "instruct-pix2pix";
 *
 * for (const { device } of cudaDevices()) await emptyCache(device);
 * ```
 */
export async function emptyCache(device = "cuda"): Promise<void> {
  return native().emptyCache(device);
}

/**
 * Waits for all work queued on a device, for example before taking a time.
 *
 * @param device "cpu", "cuda" or "cuda:N"
 * @throws `ERR_CUDA_UNAVAILABLE`
 *
 * @example
 * ```js
 * import { synchronize, Tensor } from "instruct-pix2pix";
 *
 * const begin = performance.now();
 * const product = await (await Tensor.randn([256, 256])).mul(2);
 * await synchronize(product.device);
 * console.log(performance.now() - begin, "ms");
 * ```
 */
export async function synchronize(device = "cuda"): Promise<void> {
  return native().synchronize(device);
}

/** Peak memory of tensors on a device since the last reset, in bytes; undefined on the CPU. */
export async function peakDeviceMemory(device: string): Promise<number | undefined> {
  return device === "cpu" ? undefined : (await native().deviceMemory(device)).peakAllocated;
}

import { InstructPix2PixError } from "./errors.js";
import { native } from "./native/native.js";

/** Where something is computed: "auto" takes the first CUDA device that works and the CPU otherwise. */
export type DeviceOption = "auto" | "cpu" | "cuda" | `cuda:${number}`;

/**
 * The device that an option stands for: "cpu" or "cuda:N".
 *
 * @throws `ERR_INVALID_ARGUMENT` for another word; `ERR_CUDA_UNAVAILABLE` if a CUDA device is named that is not there.
 */
export function resolveDevice(device: string): string {
  if (device !== "auto" && device !== "cpu" && !/^cuda(:\d{1,3})?$/.test(device))
    throw new InstructPix2PixError(
      "ERR_INVALID_ARGUMENT",
      `device must be "auto", "cpu", "cuda" or "cuda:N", not ${JSON.stringify(device)}`,
    );
  if (device === "cpu") return "cpu";
  const { cudaBuilt, cudaDevices } = native().systemInfo();
  if (device === "auto") return cudaDevices > 0 ? "cuda:0" : "cpu";
  const index = Number(device.split(":")[1] ?? 0);
  if (index < cudaDevices) return `cuda:${index}`;
  const why = !cudaBuilt
    ? "the libtorch in use has no CUDA support, or no CUDA driver is installed"
    : cudaDevices === 0
      ? "no CUDA driver or device was found"
      : `there ${cudaDevices === 1 ? "is 1 CUDA device" : `are ${cudaDevices} CUDA devices`}`;
  throw new InstructPix2PixError("ERR_CUDA_UNAVAILABLE", `device "${device}" is not available: ${why}`);
}

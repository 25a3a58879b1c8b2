import { cudaFailure, cudaHalf, native } from "../runtime/native.js";
import { describe } from "./arguments.js";
import { InstructPix2PixError } from "./errors.js";
import { warnOnce } from "./warn.js";

/** A device option: "auto" selects the first CUDA device that works, else the CPU. */
export type DeviceOption = "auto" | "cpu" | "cuda" | `cuda:${number}`;

/**
 * Resolves a device option to "cpu" or "cuda:N". "auto" tries the first CUDA device in another process, once, and warns
 * if a libtorch with CUDA support cannot use it.
 *
 * @throws `ERR_INVALID_ARGUMENT` for another word; `ERR_CUDA_UNAVAILABLE` if the named CUDA device does not exist.
 */
export function resolveDevice(device: string): string {
  if (device !== "auto" && device !== "cpu" && !/^cuda(:\d{1,3})?$/.test(device))
    throw new InstructPix2PixError(
      "ERR_INVALID_ARGUMENT",
      `device must be "auto", "cpu", "cuda" or "cuda:N", not ${describe(device)}`,
    );
  if (device === "cpu") return "cpu";
  const { cudaDevices } = native().systemInfo();
  if (device === "auto") {
    const failure = cudaDevices > 0 ? cudaFailure() : undefined;
    if (cudaDevices > 0 && failure === undefined) return "cuda:0";
    if (failure !== undefined) warnOnce(`computing on the CPU: the CUDA device cannot be used (${failure})`);
    else if (isUnexpected()) warnOnce(`computing on the CPU: ${whyNoDevice()}`);
    return "cpu";
  }
  const index = Number(device.split(":")[1] ?? 0);
  if (index < cudaDevices) return `cuda:${index}`;
  const why =
    cudaDevices === 0
      ? whyNoDevice()
      : `there ${cudaDevices === 1 ? "is 1 CUDA device" : `are ${cudaDevices} CUDA devices`}`;
  throw new InstructPix2PixError("ERR_CUDA_UNAVAILABLE", `device "${device}" is not available: ${why}`);
}

function whyNoDevice(): string {
  const { state, reason } = cudaHalf();
  switch (state) {
    case "absent":
      return "the libtorch in use has no CUDA support";
    case "no-driver":
      return `no NVIDIA driver is installed (${reason})`;
    case "failed":
      return `libtorch's CUDA libraries cannot be loaded (${reason})`;
    case "loaded":
      return "no CUDA device was found";
  }
}

/** Whether a libtorch with CUDA support is installed, and no GPU was hidden from it on purpose. */
function isUnexpected(): boolean {
  return cudaHalf().state !== "absent" && !["", "-1"].includes(process.env.CUDA_VISIBLE_DEVICES ?? "unset");
}

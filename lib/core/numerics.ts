import { native } from "../runtime/native.js";

/**
 * Lets CUDA round float32 matrix products to TF32, which has 10 bits instead of 23: several times faster on GPUs from
 * Ampere on. Off by default. Convolutions always use TF32, as in PyTorch.
 *
 * @example
 * ```js
 * import { allowTf32 } from "instruct-pix2pix";
 *
 * allowTf32();
 * ```
 */
export function allowTf32(allowed = true): void {
  native().setAllowTf32(allowed);
}

/**
 * Lets 3×3 convolutions in float32 on the CPU use Winograd's algorithm (Lavin & Gray 2016), which takes a quarter of the
 * multiplications and rounds about 1e-6 of a result's size instead of 2e-7. On by default; training never uses it.
 * The environment variable `IP2P_WINOGRAD=off` forbids it from the beginning.
 *
 * @example
 * ```js
 * import { allowWinograd } from "instruct-pix2pix";
 *
 * allowWinograd(false); // the last bits as without it
 * allowWinograd();
 * ```
 */
export function allowWinograd(allowed = true): void {
  native().setAllowWinograd(allowed);
}

/**
 * Makes libtorch and cuDNN use deterministic algorithms: the same bits in every run on the same machine, perhaps
 * slower. An operator without one throws an error that names it. The CPU is always deterministic. Call this before the
 * first work on a CUDA device.
 *
 * @example
 * ```js
 * import { useDeterministicAlgorithms } from "instruct-pix2pix";
 *
 * useDeterministicAlgorithms(); // before anything computes
 * ```
 */
export function useDeterministicAlgorithms(wanted = true): void {
  // cuBLAS needs workspaces of fixed size for this, and reads the variable when it is initialised.
  if (wanted) process.env.CUBLAS_WORKSPACE_CONFIG ??= ":4096:8";
  native().setDeterministic(wanted);
}

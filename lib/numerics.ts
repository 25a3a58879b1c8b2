import { native } from "./native/native.js";

/**
 * Lets CUDA round float32 matrix products to TF32, which has 10 bits instead of 23: several times faster on GPUs from
 * Ampere on. Off by default. Convolutions are rounded so in any case, as in PyTorch.
 */
export function allowTf32(allowed = true): void {
  native().setAllowTf32(allowed);
}

/**
 * Has libtorch and cuDNN use algorithms that give the same bits at every run on the same machine, which may be slower; an
 * operator that has none fails by name. On the CPU that is so in any case. Call it before the first work on a CUDA device.
 */
export function useDeterministicAlgorithms(wanted = true): void {
  // cuBLAS asks for this when it is set up: workspaces of fixed size.
  if (wanted) process.env.CUBLAS_WORKSPACE_CONFIG ??= ":4096:8";
  native().setDeterministic(wanted);
}

import { deviceMemory } from "../dist/index.js";
import { peakMemory } from "./machine.mjs";

/** Peak memory in bytes: of tensors on a CUDA device, or of the process on the CPU. */
export async function peakBytes(device) {
  return device === "cpu" ? peakMemory() : (await deviceMemory(device)).peakAllocated;
}

import { deviceMemory } from "../dist/index.js";
import { peakMemory } from "./machine.mjs";

/** The most that tensors have held of a CUDA device, or on the CPU the process of memory, in bytes. */
export async function peakBytes(device) {
  return device === "cpu" ? peakMemory() : (await deviceMemory(device)).peakAllocated;
}

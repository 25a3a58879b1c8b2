import { availableMemory } from "../runtime/host.js";
import { native } from "../runtime/native.js";

/** Bytes that are not worth asking the system for. */
export const NEGLIGIBLE = 2 ** 28;

/** Bytes that tensors can still take; any number if so few are needed that it is not worth asking. */
export async function memoryOn(device: string, needed: number): Promise<number> {
  return needed < NEGLIGIBLE ? Number.POSITIVE_INFINITY : await availableOn(device);
}

/** Bytes that tensors can still take, those included that are kept for reuse. */
export async function availableOn(device: string): Promise<number> {
  if (device === "cpu") {
    const { heapTotal, external, rss } = process.memoryUsage();
    return availableMemory() + Math.max(0, rss - heapTotal - external - native().memoryUsage().bytes);
  }
  const { free, reserved, allocated } = await native().deviceMemory(device);
  return free === null ? Number.POSITIVE_INFINITY : free + reserved - allocated;
}

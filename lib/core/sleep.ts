import { setTimeout } from "node:timers/promises";
import { throwIfAborted } from "./errors.js";

/**
 * Resolves after the given milliseconds.
 *
 * @throws `ERR_ABORTED` as soon as the signal fires
 */
export async function sleep(milliseconds: number, signal?: AbortSignal | undefined): Promise<void> {
  await setTimeout(milliseconds, undefined, { ...(signal && { signal }) }).catch(() => throwIfAborted(signal));
}

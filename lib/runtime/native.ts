import { isMainThread } from "node:worker_threads";
import { describe } from "../core/arguments.js";
import { abortedBy, InstructPix2PixError } from "../core/errors.js";
import type { NativeAddon, NativeCancelToken } from "./contract/index.js";
import { type CudaHalf, type LoadedAddon, loadAddon } from "./load.js";
import { probeAddonSync } from "./probe.js";

let addon: NativeAddon | undefined;

/**
 * The addon, loaded with its libtorch at the first call in this JavaScript environment.
 *
 * @throws what {@link loadAddon} throws.
 */
export function native(): NativeAddon {
  return (addon ??= prepare(loadAddon<NativeAddon>()));
}

/** The state of libtorch's CUDA half after loading the addon. */
export function cudaHalf(): CudaHalf {
  return loadAddon<NativeAddon>().cuda;
}

let probed: string | undefined | null;

/**
 * Why the first CUDA device cannot be used, tested once in another process, since a broken driver may crash it.
 * Undefined if it works.
 */
export function cudaFailure(): string | undefined {
  if (probed !== undefined) return probed ?? undefined;
  const { files, libtorch } = loadAddon<NativeAddon>();
  const result = probeAddonSync(files, libtorch);
  const [first] = result.ok ? result.devices : [];
  if (!result.ok) probed = result.reason;
  else if (!first) probed = "another process finds no CUDA device";
  else probed = first.ok ? null : first.reason;
  return probed ?? undefined;
}

/** On the addon's exports, which all realms of a thread share (jest and vitest make one for each file of tests). */
const PREPARED = Symbol.for("instruct-pix2pix.prepared");

function prepare({ exports }: LoadedAddon<NativeAddon>): NativeAddon {
  exports.setErrorClass(InstructPix2PixError);
  if (Object.hasOwn(exports, PREPARED)) return exports;
  Object.defineProperty(exports, PREPARED, { value: true });
  // process.exit() runs no native cleanup hooks; this event is the only notification.
  if (isMainThread) process.once("exit", (status) => exports.processEnds(status));
  return exports;
}

/**
 * Runs a native job that `signal` can cancel: the job stops at the next layer and its promise rejects with `ERR_ABORTED`.
 */
export async function cancellable<T>(
  signal: AbortSignal | undefined,
  run: (token: NativeCancelToken | null) => Promise<T>,
): Promise<T> {
  if (signal === undefined) return run(null);
  if (!isAbortSignal(signal))
    throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", `signal must be an AbortSignal, not ${describe(signal)}`);
  if (signal.aborted) throw abortedBy(signal);
  const token = new (native().CancelToken)();
  const cancel = () => token.cancel();
  signal.addEventListener("abort", cancel, { once: true });
  try {
    return await run(token);
  } catch (error) {
    if (signal.aborted && error instanceof InstructPix2PixError && error.code === "ERR_ABORTED")
      throw abortedBy(signal);
    throw error;
  } finally {
    signal.removeEventListener("abort", cancel);
  }
}

/** By duck typing: signals may come from polyfills and other realms. */
function isAbortSignal(value: unknown): value is AbortSignal {
  const { aborted, addEventListener } = Object(value) as Partial<AbortSignal>;
  return typeof aborted === "boolean" && typeof addEventListener === "function";
}

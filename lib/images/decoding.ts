import { type InstructPix2PixError, throwIfAborted } from "../core/errors.js";
import { Semaphore } from "../core/semaphore.js";
import { unreadable } from "./unreadable.js";

export interface DecodingLimits {
  /** Time limit for decoding in milliseconds, including the wait for a free slot. */
  timeoutMs: number;
  signal: AbortSignal | undefined;
  /** The image's name in errors. */
  name: string;
}

/** The size of libuv's thread pool, which images, files and host names share. */
const POOL_THREADS = Number(process.env.UV_THREADPOOL_SIZE) || 4;

/**
 * One thread is reserved for other work, such as reading files, since a decoder cannot always be stopped. Every
 * JavaScript thread has its own places: several together can occupy the whole pool, but not more than it.
 */
const places = new Semaphore(Math.max(1, POOL_THREADS - 1));

let inProgress = 0;

/**
 * The number of images that this thread is decoding. An image whose `loadImage` was aborted or timed out counts
 * until its decoder has actually ended, so that a server can delay new work until then.
 *
 * @example
 * ```js
 * import { decodesInProgress, loadImage } from "instruct-pix2pix";
 *
 * const loading = loadImage("photo.jpg");
 * if (decodesInProgress() > 8) console.log("busy");
 * await loading;
 * ```
 */
export function decodesInProgress(): number {
  return inProgress;
}

/** Runs `work` in a decoder slot, and counts it until it has ended. */
export type Decoder = <T>(work: () => Promise<T>) => Promise<T>;

/**
 * Settles as `decode` does, but no later than the time limit, and at once when the signal fires. A decoder that still
 * runs then keeps its slot and stays counted, and no further decoder is started for the image.
 *
 * @throws `ERR_IMAGE` at the time limit, `ERR_ABORTED`.
 */
export async function withinLimits<T>(limits: DecodingLimits, decode: (decoder: Decoder) => Promise<T>): Promise<T> {
  const { timeoutMs, signal } = limits;
  throwIfAborted(signal);
  const given = new AbortController();
  const end = new Promise<never>((_, reject) => {
    given.signal.addEventListener("abort", () => reject(given.signal.reason), { once: true });
  });
  const onAbort = () => {
    try {
      throwIfAborted(signal);
    } catch (error) {
      given.abort(error);
    }
  };
  const timer = setTimeout(() => given.abort(tooSlow(limits)), timeoutMs);
  signal?.addEventListener("abort", onAbort, { once: true });
  const decoder: Decoder = (work) => places.run(() => counted(work), given.signal);
  try {
    return await Promise.race([decode(decoder), end]);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", onAbort);
  }
}

async function counted<T>(work: () => Promise<T>): Promise<T> {
  inProgress++;
  try {
    return await work();
  } finally {
    inProgress--;
  }
}

/** The error for an image whose decoding, and the wait for it, took too long. */
export function tooSlow({ name, timeoutMs }: DecodingLimits, cause?: unknown): InstructPix2PixError {
  return unreadable(name, `was not decoded within ${timeoutMs} ms (timeoutMs)`, cause);
}

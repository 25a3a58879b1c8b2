import { types } from "node:util";

/** Every stable `code` an {@link InstructPix2PixError} can carry. */
export type ErrorCode =
  | "ERR_ABORTED" // a signal fired; `cause.name` is "TimeoutError" after AbortSignal.timeout, else "AbortError" or the reason given
  | "ERR_ADDON_NOT_FOUND" // no addon for this machine; the message says where it was looked for
  | "ERR_BUILD_TOOLS" // the addon cannot be built: a tool is missing, or it failed
  | "ERR_CHECKPOINT" // a checkpoint is missing, broken, or of another run
  | "ERR_CONFIG" // a configuration is malformed, unsupported, or does not fit
  | "ERR_CUDA_UNAVAILABLE" // the requested CUDA device does not exist or cannot be used
  | "ERR_DATASET" // a data set cannot be read, or has no usable rows
  | "ERR_DISPOSED" // something was used after its dispose()
  | "ERR_DISTRIBUTED" // another process of a training failed or cannot be reached; the message names its rank and host
  | "ERR_DOWNLOAD" // a URL cannot be fetched, or is not allowed
  | "ERR_FILE_NOT_FOUND" // a file or folder is not there
  | "ERR_HUB" // the Hugging Face hub refused, or cannot be reached
  | "ERR_IMAGE" // not a whole, valid image within the limits
  | "ERR_IN_USE" // another process, or another run of this one, is working in the folder
  | "ERR_INTERNAL" // a bug in this package
  | "ERR_INVALID_ARGUMENT" // an invalid argument; the message names it
  | "ERR_IO" // a file cannot be read or written
  | "ERR_LIBTORCH" // libtorch failed, or cannot be installed or loaded
  | "ERR_LIBTORCH_NOT_FOUND" // no libtorch; the message says where it was looked for
  | "ERR_LIBTORCH_VERSION" // a libtorch that is not supported, or that the addon was not built for
  | "ERR_NOT_FINITE" // weights, a loss or gradients hold NaN or infinity; the message names the weight or the step
  | "ERR_OUT_OF_MEMORY" // an allocation failed, on the CPU or on a device
  | "ERR_SAFETENSORS" // a malformed safetensors file
  | "ERR_STATE_DICT" // weights are missing, unexpected, of the wrong shape, or in an unsupported file format
  | "ERR_TOKENIZER" // a malformed tokenizer, or a text that it cannot encode
  | "ERR_USAGE"; // an invalid command line

/**
 * The one error class of this package. `code` is stable and meant for programs, `message` is one line for people;
 * `cause` is the underlying error, if any.
 *
 * @example
 * ```js
 * import { InstructPix2PixError, loadImage } from "instruct-pix2pix";
 *
 * try {
 *   await loadImage("absent.jpg");
 * } catch (error) {
 *   if (!(error instanceof InstructPix2PixError)) throw error;
 *   console.log(error.code, error.message);
 * }
 * ```
 */
export class InstructPix2PixError extends Error {
  override readonly name = "InstructPix2PixError";
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }

  /** Also true for errors of another realm (`node:vm`, jest) or of another copy of this package. */
  static override [Symbol.hasInstance](value: unknown): boolean {
    // biome-ignore lint/complexity/noThisInStatic: it is the class on the right of instanceof, which may be a subclass
    if (this !== InstructPix2PixError) return Function.prototype[Symbol.hasInstance].call(this, value);
    return (
      isError(value) && value.name === "InstructPix2PixError" && typeof (value as { code?: unknown }).code === "string"
    );
  }
}

/** Whether `value` is an error of any realm; Node.js may throw errors of another realm. */
export function isError(value: unknown): value is Error {
  return value instanceof Error || types.isNativeError(value);
}

/**
 * Whether `error` is this package's error, optionally with one particular code.
 *
 * @example
 * ```js
 * import { isInstructPix2PixError, loadImage } from "instruct-pix2pix";
 *
 * try {
 *   await loadImage("no-such-file.jpg");
 * } catch (error) {
 *   if (!isInstructPix2PixError(error, "ERR_FILE_NOT_FOUND")) throw error;
 *   console.log(error.message);
 * }
 * ```
 */
export function isInstructPix2PixError(error: unknown, code?: ErrorCode): error is InstructPix2PixError {
  return error instanceof InstructPix2PixError && (code === undefined || error.code === code);
}

/** Throws {@link abortedBy} if the signal has fired. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw abortedBy(signal);
}

/**
 * `ERR_ABORTED` of a signal that has fired. Its reason becomes the cause: after `AbortSignal.timeout` a "TimeoutError", after
 * `controller.abort()` an "AbortError", or what was given to `abort`.
 */
export function abortedBy({ reason }: Pick<AbortSignal, "reason">): InstructPix2PixError {
  const timeout = isError(reason) && reason.name === "TimeoutError";
  const message = timeout ? "the operation was aborted: its time limit is over" : "the operation was aborted";
  return new InstructPix2PixError("ERR_ABORTED", message, { cause: reason });
}

/** Every stable `code` an {@link InstructPix2PixError} can carry. */
export type ErrorCode =
  | "ERR_ABORTED"
  | "ERR_ADDON_NOT_FOUND"
  | "ERR_BUILD_TOOLS"
  | "ERR_CHECKPOINT"
  | "ERR_CONFIG"
  | "ERR_CUDA_UNAVAILABLE"
  | "ERR_DATASET"
  | "ERR_DISPOSED"
  | "ERR_DOWNLOAD"
  | "ERR_FILE_NOT_FOUND"
  | "ERR_HUB"
  | "ERR_IMAGE"
  | "ERR_INTERNAL"
  | "ERR_INVALID_ARGUMENT"
  | "ERR_IO"
  | "ERR_LIBTORCH"
  | "ERR_LIBTORCH_NOT_FOUND"
  | "ERR_LIBTORCH_VERSION"
  | "ERR_NOT_FINITE"
  | "ERR_OUT_OF_MEMORY"
  | "ERR_SAFETENSORS"
  | "ERR_STATE_DICT"
  | "ERR_TOKENIZER"
  | "ERR_USAGE";

/**
 * The one error class of this package. `code` is stable and meant for programs, `message` is one line for people;
 * `cause` holds what lay beneath, where there was something.
 */
export class InstructPix2PixError extends Error {
  override readonly name = "InstructPix2PixError";
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}

/** Whether `error` is this package's error, optionally with one particular code. */
export function isInstructPix2PixError(error: unknown, code?: ErrorCode): error is InstructPix2PixError {
  return error instanceof InstructPix2PixError && (code === undefined || error.code === code);
}

/** Throws `ERR_ABORTED` if the signal has fired; the signal's reason becomes the cause. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted)
    throw new InstructPix2PixError("ERR_ABORTED", "the operation was aborted", { cause: signal.reason });
}

/** Every stable `code` an {@link InstructPix2PixError} can carry. */
export type ErrorCode =
  | "ERR_ABORTED" // a signal fired
  | "ERR_ADDON_NOT_FOUND" // no addon for this machine; the message says where it was looked for
  | "ERR_BUILD_TOOLS" // the addon cannot be built: a tool is missing, or it failed
  | "ERR_CHECKPOINT" // a checkpoint is missing, broken, or of another run
  | "ERR_CONFIG" // a configuration asks for what is not built, or does not fit
  | "ERR_CUDA_UNAVAILABLE" // a CUDA device was asked for that is not there
  | "ERR_DATASET" // a data set cannot be read, or has no usable rows
  | "ERR_DISPOSED" // something was used after its dispose()
  | "ERR_DOWNLOAD" // a URL cannot be fetched, or must not be
  | "ERR_FILE_NOT_FOUND" // a file or folder is not there
  | "ERR_HUB" // the Hugging Face hub refused, or cannot be reached
  | "ERR_IMAGE" // not a whole, valid picture within the limits
  | "ERR_IN_USE" // another process, or another run of this one, is working in the folder
  | "ERR_INTERNAL" // a bug in this package
  | "ERR_INVALID_ARGUMENT" // an argument makes no sense; the message names it
  | "ERR_IO" // a file cannot be read or written
  | "ERR_LIBTORCH" // libtorch failed, or cannot be installed or loaded
  | "ERR_LIBTORCH_NOT_FOUND" // no libtorch; the message says where it was looked for
  | "ERR_LIBTORCH_VERSION" // a libtorch that is not supported, or that the addon was not built for
  | "ERR_NOT_FINITE" // weights, a loss or gradients are infinite or no numbers; the message names the weight or the step
  | "ERR_OUT_OF_MEMORY" // an allocation failed, on the CPU or on a device
  | "ERR_SAFETENSORS" // a malformed safetensors file
  | "ERR_STATE_DICT" // weights are missing, unexpected or misshapen, or in a file of another kind
  | "ERR_TOKENIZER" // a malformed tokenizer, or a text that it cannot encode
  | "ERR_USAGE"; // a command line that cannot be understood

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

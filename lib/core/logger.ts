import { describe } from "./arguments.js";
import { InstructPix2PixError } from "./errors.js";

/** Takes the library's messages: `console`, and the loggers of pino, winston and others, are such objects. */
export interface Logger {
  /** Called with a warning of one line. An error that it throws is ignored. */
  warn(message: string): unknown;
}

let current: Logger | undefined;

/**
 * Sets where the library's warnings go. Without a logger they are process warnings, of the type `InstructPix2PixWarning`,
 * which Node.js prints on standard error. The library has no other messages: progress and steps go to callbacks, and
 * failures are errors. A training run with `onEvent` reports its warnings there instead.
 *
 * The logger is that of the JavaScript environment: each worker thread has its own.
 *
 * @param logger null restores process warnings
 * @throws `ERR_INVALID_ARGUMENT` for what has no method `warn`
 *
 * @example
 * ```js
 * import { setLogger } from "instruct-pix2pix";
 *
 * setLogger(console); // or the logger of pino or winston
 * setLogger({ warn() {} }); // silence
 * setLogger(null); // process warnings again
 * ```
 */
export function setLogger(logger: Logger | null): void {
  if (logger !== null && typeof (logger as Partial<Logger> | undefined)?.warn !== "function")
    throw new InstructPix2PixError(
      "ERR_INVALID_ARGUMENT",
      `logger must be an object with a method warn, or null, not ${describe(logger)}`,
    );
  current = logger ?? undefined;
}

/** Gives a warning to the logger, or else to the process. */
export function logWarning(message: string): void {
  if (!current) {
    process.emitWarning(message, { type: "InstructPix2PixWarning" });
    return;
  }
  try {
    // An async logger's rejection must not end the process.
    Promise.resolve(current.warn(message)).catch(() => {});
  } catch {
    // The caller of the library asked for its work, not for a message.
  }
}

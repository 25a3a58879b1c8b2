import { InstructPix2PixError, isError, isInstructPix2PixError } from "../core/errors.js";
import { quote } from "../core/quote.js";

const MAX_REASON = 1000;

/** An `ERR_DATASET`. */
export function datasetError(message: string, cause?: unknown): InstructPix2PixError {
  return new InstructPix2PixError("ERR_DATASET", message, cause === undefined ? undefined : { cause });
}

/** The first line of an error's message, shortened if long. */
export function reasonOf(error: unknown): string {
  const message = isError(error) ? error.message : String(error);
  return message.slice(0, MAX_REASON).split("\n", 1)[0]!.trim();
}

/** A list of names for a message: the first few, quoted, and the number of others. */
export function listOf(names: readonly string[], shown = 8): string {
  const quoted = names.slice(0, shown).map(quote);
  return [...quoted, ...(names.length > shown ? [`${names.length - shown} more`] : [])].join(", ");
}

/** Whether the row is at fault, not the machine or the caller. */
export function isFaultOfRow(error: unknown): error is InstructPix2PixError {
  if (!isInstructPix2PixError(error)) return false;
  const { code } = (error.cause ?? {}) as NodeJS.ErrnoException;
  if (code === "EMFILE" || code === "ENFILE" || code === "ENOMEM") return false;
  return error.code === "ERR_IMAGE" || error.code === "ERR_FILE_NOT_FOUND" || error.code === "ERR_DATASET";
}

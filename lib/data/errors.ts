import { InstructPix2PixError } from "../errors.js";
import { quote } from "../quote.js";

const MAX_REASON = 1000;

/** An `ERR_DATASET`. */
export function datasetError(message: string, cause?: unknown): InstructPix2PixError {
  return new InstructPix2PixError("ERR_DATASET", message, cause === undefined ? undefined : { cause });
}

/** The first line of what an error says, or its beginning where what it quotes is long. */
export function reasonOf(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return message.slice(0, MAX_REASON).split("\n", 1)[0]!.trim();
}

/** Names for a message: the first few of them, quoted, and how many more there are. */
export function listOf(names: readonly string[], shown = 8): string {
  const quoted = names.slice(0, shown).map(quote);
  return [...quoted, ...(names.length > shown ? [`${names.length - shown} more`] : [])].join(", ");
}

import { type ErrorCode, InstructPix2PixError, isInstructPix2PixError } from "../core/errors.js";
import { groupError } from "./store-client.js";

/** What became of a process, as the others are told. */
export interface Failure {
  readonly rank: number;
  readonly host: string;
  /** The optimizer step that it was making; 0 before the first. */
  readonly step: number;
  /** What its error says, or that it has gone. */
  readonly message: string;
  /** Of its error; null for one that has gone without a word. */
  readonly code: ErrorCode | null;
}

/** The failure of a process that can still tell it. */
export function failureOf(error: unknown, { rank, host, step }: Omit<Failure, "message" | "code">): Failure {
  const message = error instanceof Error ? error.message : String(error);
  return { rank, host, step, message, code: isInstructPix2PixError(error) ? error.code : "ERR_INTERNAL" };
}

/** A process that has gone without a word. */
export function lost({ rank, host, step }: Omit<Failure, "message" | "code">, message: string): Failure {
  return { rank, host, step, message, code: null };
}

/**
 * The error of the processes that hear of a failure: `ERR_ABORTED` if that process was told to end, otherwise
 * `ERR_DISTRIBUTED` with rank, host, step and cause.
 */
export function errorOf({ rank, host, step, message, code }: Failure): InstructPix2PixError {
  const when = step > 0 ? ` in step ${step}` : "";
  if (code === "ERR_ABORTED")
    return new InstructPix2PixError("ERR_ABORTED", `rank ${rank} (${host}) was told to end${when}`, {
      cause: `rank ${rank} (${host}) was told to end`,
    });
  return groupError(
    `rank ${rank} (${host}) ${code === null ? message : "failed"}${when}${code === null ? "" : `: ${message}`}`,
  );
}

export function parseFailure(text: string): Failure {
  return JSON.parse(text) as Failure;
}

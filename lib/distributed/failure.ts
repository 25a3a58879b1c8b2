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
  /** Whether it has given no sign of life for a while, though its connections may still be open. */
  readonly isSilent: boolean;
}

type Whereabouts = Pick<Failure, "rank" | "host" | "step">;

/** The failure of a process that can still tell it. */
export function failureOf(error: unknown, { rank, host, step }: Whereabouts): Failure {
  const message = error instanceof Error ? error.message : String(error);
  const code = isInstructPix2PixError(error) ? error.code : "ERR_INTERNAL";
  return { rank, host, step, message, code, isSilent: false };
}

/** A process that gives no sign of life. */
export function silent({ rank, host, step }: Whereabouts, message: string): Failure {
  return { rank, host, step, message, code: null, isSilent: true };
}

/** Rank 0, if the store that it serves cannot be reached any more. It may live, without connections. */
export function storeGone({ host, step }: Omit<Whereabouts, "rank">, reason: string): Failure {
  const why = reason.replace(/^the processes' store is gone: /, "");
  const message = `has gone, or the connection to it, and with it the processes' store (${why})`;
  return { rank: 0, host, step, message, code: null, isSilent: false };
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

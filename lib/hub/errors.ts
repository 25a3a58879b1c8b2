import { InstructPix2PixError } from "../errors.js";

/** Why the hub did not give what was asked for. */
export type HubFailure =
  /** No answer, or only errors of the server's own, however often it was asked. */
  | "unreachable"
  /** The repository does not exist, or not for this token. */
  | "no-repository"
  | "gated"
  | "no-revision"
  | "no-file"
  | "refused";

/** An `ERR_HUB` that also tells, within this package, what kind of failure it was. */
export class HubError extends InstructPix2PixError {
  readonly failure: HubFailure;

  constructor(failure: HubFailure, message: string, options?: { cause?: unknown }) {
    super("ERR_HUB", message, options);
    this.failure = failure;
  }
}

/** An `ERR_HUB` about what a repository holds. */
export function repositoryError(message: string): InstructPix2PixError {
  return new InstructPix2PixError("ERR_HUB", message);
}

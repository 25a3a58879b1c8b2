import { InstructPix2PixError } from "../core/errors.js";

/** The reason for a failure of the hub. */
export type HubFailure =
  /** No response, or only server errors, after all retries. */
  | "unreachable"
  /** The repository does not exist or is not accessible with this token. */
  | "no-repository"
  | "gated"
  /** The hub must not be contacted, and the cache does not have it. */
  | "not-cached"
  | "no-revision"
  | "no-file"
  | "refused";

/** An `ERR_HUB` with the kind of failure, for use within this package. */
export class HubError extends InstructPix2PixError {
  readonly failure: HubFailure;

  constructor(failure: HubFailure, message: string, options?: { cause?: unknown }) {
    super("ERR_HUB", message, options);
    this.failure = failure;
  }
}

/** An `ERR_HUB` about a repository's content. */
export function repositoryError(message: string): InstructPix2PixError {
  return new InstructPix2PixError("ERR_HUB", message);
}

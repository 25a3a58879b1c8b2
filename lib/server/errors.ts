import { InstructPix2PixError, isError, isInstructPix2PixError } from "../core/errors.js";

/** An error that is sent to the client unchanged. */
export class HttpError extends Error {
  readonly statusCode: number;
  readonly code: string;
  /** The field of the request that is wrong. */
  readonly param: string | undefined;
  /** Seconds after which the client may try again. */
  readonly retryAfter: number | undefined;

  constructor(
    statusCode: number,
    code: string,
    message: string,
    { param, retryAfter }: { param?: string | undefined; retryAfter?: number | undefined } = {},
  ) {
    super(message);
    this.statusCode = statusCode;
    this.code = code;
    this.param = param;
    this.retryAfter = retryAfter;
  }

  /** The answer's body, in the form of OpenAI's API. */
  body() {
    const { message, param = null, code } = this;
    return { error: { message, type: typeOf(this.statusCode), param, code } };
  }
}

function typeOf(status: number): string {
  if (status === 401) return "authentication_error";
  if (status === 403) return "permission_error";
  if (status === 429) return "rate_limit_error";
  return status < 500 ? "invalid_request_error" : "server_error";
}

/** Statuses of the package's errors caused by the request; all others are the server's fault. */
const STATUSES = new Map<string, number>([
  ["ERR_INVALID_ARGUMENT", 400],
  ["ERR_IMAGE", 422],
  ["ERR_DOWNLOAD", 422],
]);

/** Retry-After in seconds when memory ran out. */
const RETRY_AFTER_OUT_OF_MEMORY = 30;

/**
 * The error response for the client. Messages about the request are meant for the client; those about the server may
 * name its files and go to its log only.
 *
 * @param receiving whether it arose while the body was read
 */
export function describeError(error: unknown, receiving: boolean): HttpError {
  if (error instanceof HttpError) return error;
  if (error instanceof InstructPix2PixError) {
    const status = STATUSES.get(error.code);
    if (status !== undefined) return new HttpError(status, error.code, error.message);
    if (isInstructPix2PixError(error, "ERR_OUT_OF_MEMORY")) {
      const message = "there is not enough memory for this request now";
      return new HttpError(503, error.code, message, { retryAfter: RETRY_AFTER_OUT_OF_MEMORY });
    }
  } else if (isError(error)) {
    // Errors of fastify and its plugins: a body that is too large, invalid JSON, a schema violation, …
    const { statusCode = 500, code = "ERR_REQUEST", message } = error as Partial<HttpError> & Error;
    if (statusCode < 500) return new HttpError(statusCode, code, message);
    // The multipart parser throws plain errors: a truncated part, a missing boundary, …
    if (receiving || /^Multipart: /.test(message))
      return new HttpError(400, "ERR_BODY", `the body cannot be read: ${message}`);
  }
  return new HttpError(500, "ERR_INTERNAL", "the request failed; the server's log says why");
}

/** The reason of an aborted run, or the error itself. */
export function reasonOf(error: unknown, signal: AbortSignal): unknown {
  return isInstructPix2PixError(error, "ERR_ABORTED") && signal.aborted ? signal.reason : error;
}

import { isInstructPix2PixError } from "instruct-pix2pix";

/** An error that is sent to the client unchanged. */
export class HttpError extends Error {
  /**
   * @param {number} statusCode
   * @param {string} code
   * @param {string} message
   * @param {number} [retryAfter] seconds
   */
  constructor(statusCode, code, message, retryAfter) {
    super(message);
    this.statusCode = statusCode;
    this.code = code;
    this.retryAfter = retryAfter;
  }
}

/** Statuses of the package's errors caused by the request; all others are the server's fault. */
const STATUSES = /** @type {Record<string, number>} */ ({
  ERR_INVALID_ARGUMENT: 400,
  ERR_IMAGE: 422,
  ERR_DOWNLOAD: 422,
});

/** Retry-After in seconds when memory ran out. */
const RETRY_AFTER_OUT_OF_MEMORY = 30;

/**
 * The error response for the client. Messages about the request are meant for the client; those about the server may
 * name its files and go to its log only.
 *
 * @param {unknown} error
 * @param {boolean} receiving whether it arose while the body was read
 * @returns {HttpError}
 */
export function describeError(error, receiving) {
  if (error instanceof HttpError) return error;
  if (isInstructPix2PixError(error)) {
    const status = STATUSES[error.code];
    if (status) return new HttpError(status, error.code, error.message);
    if (isInstructPix2PixError(error, "ERR_OUT_OF_MEMORY"))
      return new HttpError(503, error.code, "there is not enough memory for this edit now", RETRY_AFTER_OUT_OF_MEMORY);
  }
  // Errors of fastify and its plugins: a body that is too large, invalid JSON, a schema violation, …
  const { statusCode = 500, code = "ERR_REQUEST", message } = /** @type {Partial<HttpError>} */ (error);
  if (statusCode < 500) return new HttpError(statusCode, code, String(message));
  // The multipart parser throws plain errors: a truncated part, a missing boundary, …
  if (receiving) return new HttpError(400, "ERR_BODY", `the body cannot be read: ${message}`);
  return new HttpError(500, "ERR_INTERNAL", "the edit failed; the server's log says why");
}

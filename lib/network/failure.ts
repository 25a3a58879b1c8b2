import { isError } from "../core/errors.js";

/** Why a request failed, in words of one line: "connect ECONNREFUSED 127.0.0.1:80". */
export function failureMessage(error: unknown): string {
  const cause = innermost(error);
  if (!isError(cause)) return String(cause);
  return cause.message.split("\n", 1)[0] || ((cause as NodeJS.ErrnoException).code ?? cause.name);
}

/** Why a request failed, as a name where it has one: "ECONNREFUSED". */
export function failureName(error: unknown): string {
  const cause = innermost(error);
  if (!isError(cause)) return String(cause);
  return (cause as NodeJS.ErrnoException).code ?? cause.message;
}

/** The reason is the innermost cause, or one of several causes if a host has several addresses. */
function innermost(error: unknown): unknown {
  let inner = error;
  while (isError(inner) && isError(inner.cause)) inner = inner.cause;
  return isError(inner) && inner.name === "AggregateError" ? ((inner as AggregateError).errors[0] ?? inner) : inner;
}

/** Whether a response status is transient and worth a retry. */
export function isPassing(status: number): boolean {
  return status === 408 || status === 429 || status >= 500;
}

/** Milliseconds of a Retry-After header, given in seconds or as a date; undefined if there is none, or it is past. */
export function retryAfter(headers: { get(name: string): string | null } | undefined): number | undefined {
  const asked = headers?.get("retry-after") ?? "";
  const wait = /^[\d.]+$/.test(asked) ? Number(asked) * 1000 : Date.parse(asked) - Date.now();
  return wait > 0 ? wait : undefined;
}

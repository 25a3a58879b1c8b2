import type { lookup as systemLookup } from "node:dns";
import { InstructPix2PixError } from "../core/errors.js";
import { isPublicAddress } from "../network/addresses.js";
import { NotConnected } from "../network/connector.js";
import { failureMessage } from "../network/failure.js";
import { HttpClient } from "../network/http-client.js";
import { HttpError } from "../network/http-error.js";
import { displayUrl as withoutQuery } from "../network/url.js";

export interface FetchOptions {
  /** Limit on the body in bytes, after decompression. */
  maxBytes: number;
  /** Milliseconds from the first request to the last byte, redirects included. */
  timeoutMs: number;
  /** Whether loopback, private and other special addresses may be connected to. Proxies are used only if so. */
  allowPrivateAddresses: boolean;
  signal?: AbortSignal | undefined;
  /** The resolver and the address rule; for tests. */
  lookup?: typeof systemLookup;
  isAllowed?: (address: string) => boolean;
}

/** The same message for a forbidden and an unreachable address, so that clients cannot tell them apart. */
const NOT_CONNECTED =
  "its host is not on the public internet or cannot be connected to (private addresses are not allowed here)";

/**
 * Downloads an http or https URL. Unless private addresses are allowed, every connection, also after redirects, is
 * checked when it is made.
 *
 * @throws `ERR_DOWNLOAD` naming the URL without its credentials and query, `ERR_ABORTED`.
 */
export async function fetchBytes(url: URL, options: FetchOptions): Promise<Buffer> {
  const { maxBytes, timeoutMs, signal, allowPrivateAddresses, lookup, isAllowed = isPublicAddress } = options;
  const client = new HttpClient({
    connectTimeout: timeoutMs,
    idleTimeout: timeoutMs,
    redirects: "any",
    lookup,
    isAllowed: allowPrivateAddresses ? undefined : isAllowed,
  });
  try {
    const headers = { accept: "image/*", "accept-encoding": "identity" };
    const answer = await client.read(url, { headers, maxBytes, timeoutMs, signal });
    if (answer.status !== 200) throw refused(answer.url, `the server answered ${answer.status}`);
    return answer.bytes;
  } catch (error) {
    if (!(error instanceof HttpError)) throw error;
    throw refused(error.url, problemOf(error), error);
  } finally {
    await client.close();
  }
}

/** A URL for messages and logs; that it has a query is shown. */
export function displayUrl(url: URL): string {
  return url.search ? `${withoutQuery(url)}?…` : withoutQuery(url);
}

function problemOf(error: HttpError): string {
  if (error.cause instanceof NotConnected) return NOT_CONNECTED;
  return failureMessage(error) + (error.problem === "size" ? " (maxBytes)" : "");
}

function refused(url: URL, problem: string, cause?: unknown): InstructPix2PixError {
  return new InstructPix2PixError("ERR_DOWNLOAD", `cannot fetch ${displayUrl(url)}: ${problem}`, { cause });
}

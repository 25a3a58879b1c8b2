import type { lookup as systemLookup } from "node:dns";
import { unescape as percentDecode } from "node:querystring";
import { createBrotliDecompress, createGunzip, createInflate } from "node:zlib";
import { Agent, type Dispatcher, request } from "undici";
import { InstructPix2PixError, throwIfAborted } from "../core/errors.js";
import { readBody } from "../network/body.js";
import { guardedConnector, NotConnected } from "../network/connector.js";
import { dispatcherFor } from "../network/dispatcher.js";
import { failureMessage } from "../network/failure.js";

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

const MAX_REDIRECTS = 10;

/** The same message for a forbidden and an unreachable address, so that clients cannot tell them apart. */
const NOT_CONNECTED =
  "its host is not on the public internet or cannot be connected to (private addresses are not allowed here)";

/**
 * Downloads an http or https URL. Unless private addresses are allowed, every connection, also after redirects, is
 * checked when it is made ({@link guardedConnector}).
 *
 * @throws `ERR_DOWNLOAD` naming the URL without its credentials and query, `ERR_ABORTED`.
 */
export async function fetchBytes(url: URL, options: FetchOptions): Promise<Buffer> {
  const timeout = AbortSignal.timeout(options.timeoutMs);
  const signal = options.signal ? AbortSignal.any([options.signal, timeout]) : timeout;
  const dispatcher = dispatcherOf(options);
  let hop = url;
  try {
    for (let redirects = 0; redirects <= MAX_REDIRECTS; redirects++) {
      const answer = await get(hop, dispatcher, signal, options);
      if (Buffer.isBuffer(answer)) return answer;
      hop = answer;
    }
    throw refused(url, `redirected more than ${MAX_REDIRECTS} times`);
  } catch (error) {
    throwIfAborted(options.signal);
    if (timeout.aborted) throw refused(url, `took longer than ${options.timeoutMs / 1000} s`, error);
    if (error instanceof InstructPix2PixError) throw error;
    throw refused(hop, error instanceof NotConnected ? NOT_CONNECTED : failureMessage(error), error);
  } finally {
    await dispatcher.destroy();
  }
}

/** A URL for messages and logs: without user name, password and query, which may hold secrets. */
export function displayUrl(url: URL): string {
  const shown = withoutCredentials(url);
  shown.search = "";
  return url.search ? `${shown.href}?…` : shown.href;
}

/** Concatenating parts of a URL may change the host: resolved against `http://a`, the path `//b` is `http://b`. */
function withoutCredentials(url: URL): URL {
  const copy = new URL(url);
  copy.username = "";
  copy.password = "";
  copy.hash = "";
  return copy;
}

function refused(url: URL, problem: string, cause?: unknown): InstructPix2PixError {
  const options = cause === undefined ? undefined : { cause };
  return new InstructPix2PixError("ERR_DOWNLOAD", `cannot fetch ${displayUrl(url)}: ${problem}`, options);
}

/** The body, or the target of a redirect. */
async function get(
  url: URL,
  dispatcher: Dispatcher,
  signal: AbortSignal,
  options: FetchOptions,
): Promise<Buffer | URL> {
  // Not decodeURIComponent, which throws for a literal percent sign.
  const credentials = `${percentDecode(url.username)}:${percentDecode(url.password)}`;
  const authorization = credentials !== ":" && `Basic ${Buffer.from(credentials).toString("base64")}`;
  const { statusCode, headers, body } = await request(withoutCredentials(url), {
    dispatcher,
    signal,
    headers: { accept: "image/*", "accept-encoding": "identity", ...(authorization && { authorization }) },
  });
  try {
    if (isRedirect(statusCode) && headers.location !== undefined) return target(url, String(headers.location));
    if (statusCode !== 200) throw refused(url, `the server answered ${statusCode}`);
    const announced = Number(headers["content-length"] ?? 0);
    if (announced > options.maxBytes)
      throw refused(url, `it has ${announced} bytes, more than the limit of ${options.maxBytes} (maxBytes)`);
    return await collect(decompress(body, String(headers["content-encoding"] ?? "identity"), url), url, options);
  } finally {
    // The rest of the body is not read; the connection is closed with the dispatcher.
    body.on("error", () => {}).destroy();
  }
}

function isRedirect(status: number): boolean {
  return status === 301 || status === 302 || status === 303 || status === 307 || status === 308;
}

function target(from: URL, location: string): URL {
  const to = URL.canParse(location, from.href) ? new URL(location, from) : undefined;
  if (to?.protocol !== "http:" && to?.protocol !== "https:")
    throw refused(from, `it redirects to something that is neither http nor https`);
  return to;
}

type Body = AsyncIterable<Uint8Array>;

function decompress(body: Dispatcher.ResponseData["body"], encoding: string, url: URL): Body {
  switch (encoding.toLowerCase()) {
    case "identity":
    case "":
      return body;
    case "gzip":
    case "x-gzip":
      return pipe(body, createGunzip());
    case "deflate":
      return pipe(body, createInflate());
    case "br":
      return pipe(body, createBrotliDecompress());
    default:
      throw refused(url, `the server sent it in an encoding that was not asked for (${encoding.slice(0, 40)})`);
  }
}

function pipe(
  body: Dispatcher.ResponseData["body"],
  through: NodeJS.ReadWriteStream & { destroy(error?: Error): void },
) {
  body.on("error", (error: Error) => through.destroy(error));
  return body.pipe(through) as unknown as Body;
}

async function collect(body: Body, url: URL, { maxBytes }: FetchOptions): Promise<Buffer> {
  const bytes = await readBody(body, maxBytes);
  if (bytes === undefined) throw refused(url, `it has more bytes than the limit of ${maxBytes} (maxBytes)`);
  return bytes;
}

function dispatcherOf({ allowPrivateAddresses, timeoutMs: timeout, lookup, isAllowed }: FetchOptions): Dispatcher {
  const limits = { headersTimeout: timeout, bodyTimeout: timeout };
  if (allowPrivateAddresses)
    return dispatcherFor(process.env, { ...limits, connect: { timeout, ...(lookup && { lookup }) } });
  // A proxy would make the connection itself, so addresses could not be checked.
  return new Agent({ ...limits, connect: guardedConnector({ timeout, lookup, isAllowed }) });
}

import { type LookupAddress, lookup as systemLookup } from "node:dns";
import { isIP, type LookupFunction } from "node:net";
import { createBrotliDecompress, createGunzip, createInflate } from "node:zlib";
import { Agent, type Dispatcher, request } from "undici";
import { InstructPix2PixError, throwIfAborted } from "../errors.js";
import { dispatcherFor } from "../network/dispatcher.js";
import { failureMessage } from "../network/failure.js";
import { isPublicAddress } from "./addresses.js";

export interface FetchOptions {
  /** Bytes of the body, after decompression, above which the download is given up. */
  maxBytes: number;
  /** Milliseconds from the first request to the last byte, redirects included. */
  timeoutMs: number;
  /** Whether loopback, private and other special addresses may be connected to. Proxies are used only if so. */
  allowPrivateAddresses: boolean;
  signal?: AbortSignal | undefined;
  /** The resolver and the rule, replaced in tests. */
  lookup?: typeof systemLookup;
  isAllowed?: (address: string) => boolean;
}

const MAX_REDIRECTS = 10;

/**
 * Downloads what an http or https URL holds. Every hop of a redirect is checked like the first, and the address check
 * is on the address that the connection is made to, so a name that resolves differently the second time gains nothing.
 *
 * @throws `ERR_DOWNLOAD` naming the URL without its credentials and query, `ERR_ABORTED`.
 */
export async function fetchBytes(url: URL, options: FetchOptions): Promise<Buffer> {
  const timeout = AbortSignal.timeout(options.timeoutMs);
  const signal = options.signal ? AbortSignal.any([options.signal, timeout]) : timeout;
  const dispatcher = checkedDispatcher(options);
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
    throw refused(hop, failureMessage(error), error);
  } finally {
    await dispatcher.destroy();
  }
}

/** A URL for people and logs: without user name, password and query, which may hold secrets. */
export function displayUrl(url: URL): string {
  return `${url.protocol}//${url.host}${url.pathname}${url.search ? "?…" : ""}`;
}

function refused(url: URL, problem: string, cause?: unknown): InstructPix2PixError {
  const options = cause === undefined ? undefined : { cause };
  return new InstructPix2PixError("ERR_DOWNLOAD", `cannot fetch ${displayUrl(url)}: ${problem}`, options);
}

/** The body, or where a redirect leads. */
async function get(
  url: URL,
  dispatcher: Dispatcher,
  signal: AbortSignal,
  options: FetchOptions,
): Promise<Buffer | URL> {
  // A connection to a literal address asks no resolver, so it is checked here.
  const host = url.hostname.replace(/^\[|\]$/g, "");
  if (isIP(host) !== 0) assertAllowed(host, options);
  const authorization = url.username
    ? `Basic ${Buffer.from(`${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`).toString("base64")}`
    : undefined;
  const { statusCode, headers, body } = await request(new URL(url.pathname + url.search, url.origin), {
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
    // What is left of the body stays unread; the connection goes with the dispatcher.
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
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of body) {
    length += chunk.length;
    if (length > maxBytes) throw refused(url, `it has more bytes than the limit of ${maxBytes} (maxBytes)`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, length);
}

/** A refusal on the way to a connection; its message becomes the error's. */
class ForbiddenAddress extends Error {}

function assertAllowed(address: string, { allowPrivateAddresses, isAllowed = isPublicAddress }: FetchOptions): void {
  if (!allowPrivateAddresses && !isAllowed(address))
    throw new ForbiddenAddress("its host is not on the public internet, and private addresses are not allowed here");
}

function checkedDispatcher(options: FetchOptions): Dispatcher {
  const connect = { timeout: options.timeoutMs, lookup: checkedLookup(options) };
  const limits = { connect, headersTimeout: options.timeoutMs, bodyTimeout: options.timeoutMs };
  // A proxy connects on our behalf to whatever it likes, so behind one no address could be checked.
  return options.allowPrivateAddresses ? dispatcherFor(process.env, limits) : new Agent(limits);
}

/** Resolves a name and hands on its addresses only if all of them are allowed. */
function checkedLookup(options: FetchOptions): LookupFunction {
  const resolve = options.lookup ?? systemLookup;
  return (hostname, lookupOptions, callback) => {
    resolve(hostname, { ...lookupOptions, all: true }, (error, addresses: LookupAddress[]) => {
      if (error) return callback(error, []);
      try {
        for (const { address } of addresses) assertAllowed(address, options);
      } catch (forbidden) {
        return callback(forbidden as Error, []);
      }
      const first = addresses[0];
      if (lookupOptions.all || !first) callback(null, addresses);
      else callback(null, first.address, first.family);
    });
  };
}

import { type Dispatcher, type Headers, Response } from "undici";
import { throwIfAborted } from "../core/errors.js";
import { sleep } from "../core/sleep.js";
import { readBody } from "../network/body.js";
import { dispatcherFor } from "../network/dispatcher.js";
import { addressWithin, warnIfUnencrypted } from "../network/encryption.js";
import { failureName, isPassing, retryAfter } from "../network/failure.js";
import type { Environment } from "../runtime/platform.js";
import { HubError } from "./errors.js";
import type { HubSettings } from "./settings.js";

export interface NetworkOptions {
  /** Number of retries of a request without a response, after growing pauses. Default 5, or 8 for uploads. */
  retries?: number;
  /** Milliseconds before the first retry; each further pause is twice as long. Default 500. */
  retryDelay?: number;
  /** Milliseconds without a byte until a connection is given up. Default 30000, or 120000 for uploads. */
  idleTimeout?: number;
}

/** Retry options of a request. */
export interface RepeatOptions {
  signal?: AbortSignal | undefined;
  /** Override the {@link NetworkOptions}. */
  retries?: number | undefined;
  /** Called after every failed attempt, the last one included. */
  onFailure?: () => void;
}

const MAX_REDIRECTS = 10;
const LONGEST_PAUSE = 30_000;
const CONNECT_TIMEOUT = 10_000;
/** Bytes of an answer other than a file; the longest, a page of a listing, describes a thousand files. */
const MAX_ANSWER = 2 ** 24;
/** Retries for a host that has never responded: it is more likely unreachable than busy. */
const RETRIES_UNSEEN = 2;

/**
 * Shared by downloads and uploads: the environment's proxies, the access token (sent to the hub's own origin only),
 * retries of failed connections and server errors, and redirects.
 */
export class HubConnection {
  readonly settings: HubSettings;
  readonly retries: number;
  readonly dispatcher: Dispatcher;
  readonly #retryDelay: number;
  readonly #origin: string;
  /** Whether there was ever a response. */
  #seen = false;

  constructor(settings: HubSettings, options: NetworkOptions, env: Environment) {
    const { retries = 5, retryDelay = 500, idleTimeout = 30_000 } = options;
    this.settings = settings;
    this.retries = retries;
    this.#retryDelay = retryDelay;
    const endpoint = new URL(settings.endpoint);
    this.#origin = endpoint.origin;
    if (settings.token) warnIfUnencrypted("HF_ENDPOINT", endpoint, "the access token");
    this.dispatcher = dispatcherFor(env, {
      connect: { timeout: CONNECT_TIMEOUT },
      headersTimeout: idleTimeout,
      bodyTimeout: idleTimeout,
    });
  }

  async close(): Promise<void> {
    await this.dispatcher.destroy();
  }

  /** Whether a URL is on the hub itself, not on a storage host. */
  isHub(url: URL): boolean {
    return url.origin === this.#origin;
  }

  /** Adds the access token, for the hub only. */
  authorize(url: URL, headers: Headers): void {
    if (this.settings.token && this.isHub(url)) headers.set("authorization", this.settings.token.authorization());
  }

  /**
   * Retries until there is a response of any status; its body is not read.
   *
   * @throws {@link HubError} "unreachable" after the last repetition, `ERR_ABORTED`
   */
  async repeat(
    url: URL,
    attempt: () => Promise<Response>,
    { signal, retries = this.retries, onFailure }: RepeatOptions,
  ): Promise<Response> {
    for (let failures = 0; ; failures++) {
      let failed: string;
      let cause: unknown;
      let wait = this.pause(failures);
      throwIfAborted(signal);
      try {
        const response = await attempt();
        this.#seen = true;
        if (!isPassing(response.status)) return response;
        await response.body?.cancel().catch(() => {});
        failed = `answered ${response.status}`;
        wait = Math.min(retryAfter(response.headers) ?? wait, LONGEST_PAUSE);
      } catch (error) {
        throwIfAborted(signal);
        if (error instanceof HubError) throw error;
        failed = `cannot be reached (${failureName(error)})`;
        cause = error;
      }
      onFailure?.();
      if (failures >= (this.#seen ? retries : Math.min(retries, RETRIES_UNSEEN)))
        throw new HubError("unreachable", `${displayUrl(url)} ${failed}`, { cause });
      await sleep(wait, signal);
    }
  }

  /** Cleans a server's text for a message: one line, short, without the token, which it may repeat. */
  clean(words: string): string {
    const redacted = this.settings.token?.redact(words) ?? words;
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what a message must not hold
    return redacted.replace(/[\u0000-\u001f\u007f-\u009f]+/g, " ").slice(0, 200);
  }

  /** Milliseconds to wait after this many failures. */
  pause(failures: number): number {
    return Math.min(this.#retryDelay * 2 ** failures, LONGEST_PAUSE);
  }
}

/**
 * Follows redirects, deciding at each whether the token may be sent.
 *
 * @param stops whether to return a redirect instead of following it
 * @throws {@link HubError}
 */
export async function followRedirects(
  start: URL,
  send: (url: URL) => Promise<Response>,
  stops: (response: Response, from: URL, location: string) => boolean,
): Promise<Response> {
  let url = start;
  for (let redirects = 0; redirects <= MAX_REDIRECTS; redirects++) {
    const response = await send(url);
    const location = response.headers.get("location");
    if (response.status < 300 || response.status >= 400 || location === null) return response;
    if (stops(response, url, location)) return response;
    const target = redirectTarget(url, location);
    await response.body?.cancel().catch(() => {});
    url = target;
  }
  throw new HubError("refused", `${displayUrl(start)} redirects more than ${MAX_REDIRECTS} times`);
}

/**
 * A response with its whole body read, for answers that are not files.
 *
 * @param whose names the sender in the error
 * @throws {@link HubError} for more than 16 MiB, decompressed
 */
export async function withBody(response: Response, whose: string): Promise<Response> {
  const { status, headers, body } = response;
  const bytes = await readBody(body, MAX_ANSWER);
  if (bytes === undefined) throw new HubError("refused", `${whose}: the answer is longer than ${MAX_ANSWER} bytes`);
  return new Response(body && bytes, { status, headers });
}

/**
 * The target of a redirect: http or https, and from https only https.
 *
 * @throws {@link HubError}
 */
export function redirectTarget(from: URL, location: string): URL {
  const target = addressWithin(from, location);
  if (!target)
    throw new HubError(
      "refused",
      `${displayUrl(from)} redirects to an address that is not ${from.protocol.slice(0, -1)}`,
    );
  return target;
}

/** A URL for messages: without the query, which may hold signatures. */
export function displayUrl(url: URL): string {
  return `${url.origin}${url.pathname}`;
}

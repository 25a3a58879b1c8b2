import type { Dispatcher, Headers, Response } from "undici";
import { throwIfAborted } from "../errors.js";
import type { Environment } from "../native/platform.js";
import { dispatcherFor } from "../network/dispatcher.js";
import { addressWithin, warnIfUnencrypted } from "../network/encryption.js";
import { failureName, isPassing, retryAfter } from "../network/failure.js";
import { sleep } from "../sleep.js";
import { HubError } from "./errors.js";
import type { HubSettings } from "./settings.js";

export interface NetworkOptions {
  /** How often a request that failed for want of an answer is repeated, after growing pauses. Default 5, or 8 for uploads. */
  retries?: number;
  /** Milliseconds before the first repetition; each further pause is twice as long. Default 500. */
  retryDelay?: number;
  /** Milliseconds without a byte until a connection is given up. Default 30000, or 120000 for uploads. */
  idleTimeout?: number;
}

/** How a request is repeated. */
export interface RepeatOptions {
  signal?: AbortSignal | undefined;
  /** Instead of those of the {@link NetworkOptions}. */
  retries?: number | undefined;
  /** Called when a try has failed, also the last one. */
  onFailure?: () => void;
}

const MAX_REDIRECTS = 10;
const LONGEST_PAUSE = 30_000;
const CONNECT_TIMEOUT = 10_000;
/** Of the repetitions, how many a host gets that has never answered: it is more likely away than busy. */
const RETRIES_UNSEEN = 2;

/**
 * What downloads from the hub and uploads to it have in common: the environment's proxies, the access token for the
 * hub's own origin and nobody else, repetitions where the server or the connection fails, and redirects.
 */
export class HubConnection {
  readonly settings: HubSettings;
  readonly retries: number;
  readonly dispatcher: Dispatcher;
  readonly #retryDelay: number;
  readonly #origin: string;
  /** Whether anything has ever answered. */
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

  /** Whether a URL is the hub's own and not that of a storage. */
  isHub(url: URL): boolean {
    return url.origin === this.#origin;
  }

  /** Tells the hub, and nobody else, who asks. */
  authorize(url: URL, headers: Headers): void {
    if (this.settings.token && this.isHub(url)) headers.set("authorization", this.settings.token.authorization());
  }

  /**
   * Tries until there is an answer, also one that says no; of its body nothing is read.
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

  /** What somebody else says, made fit for a message: one line, short, without the token, which they may repeat. */
  clean(words: string): string {
    const redacted = this.settings.token?.redact(words) ?? words;
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what a message must not hold
    return redacted.replace(/[\u0000-\u001f\u007f-\u009f]+/g, " ").slice(0, 200);
  }

  /** Milliseconds to wait after so many failures. */
  pause(failures: number): number {
    return Math.min(this.#retryDelay * 2 ** failures, LONGEST_PAUSE);
  }
}

/**
 * Sends a request to where redirects lead, each of which may look at the token anew.
 *
 * @param stops whether a redirect is the answer and not to be followed
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
 * Where a redirect leads: never to anything but http, and from https only to https.
 *
 * @throws {@link HubError}
 */
export function redirectTarget(from: URL, location: string): URL {
  const target = addressWithin(from, location);
  if (!target)
    throw new HubError("refused", `${displayUrl(from)} redirects to what is no ${from.protocol.slice(0, -1)} address`);
  return target;
}

/** A URL for people: without the query, in which signatures of storage services are. */
export function displayUrl(url: URL): string {
  return `${url.origin}${url.pathname}`;
}

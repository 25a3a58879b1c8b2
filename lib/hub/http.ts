import { setTimeout as sleep } from "node:timers/promises";
import { Agent, type Dispatcher, EnvHttpProxyAgent, fetch, Headers, type Response } from "undici";
import { throwIfAborted } from "../errors.js";
import type { Environment } from "../native/platform.js";
import { HubError } from "./errors.js";
import type { HubSettings } from "./settings.js";

export interface NetworkOptions {
  /** How often a request that failed for want of an answer is repeated, after growing pauses. Default 5. */
  retries?: number;
  /** Milliseconds before the first repetition; each further pause is twice as long. Default 500. */
  retryDelay?: number;
  /** Milliseconds without a byte until a connection is given up. Default 30000. */
  idleTimeout?: number;
}

export interface RequestOptions {
  method?: "GET" | "HEAD";
  headers?: Headers;
  signal?: AbortSignal | undefined;
  /** Instead of those of the {@link NetworkOptions}. */
  retries?: number | undefined;
  /** Stops at a redirect to another host, whose answer is then the redirect itself. */
  stayOnHub?: boolean;
}

const MAX_REDIRECTS = 10;
const LONGEST_PAUSE = 30_000;
const CONNECT_TIMEOUT = 10_000;
/** Of the repetitions, how many a host gets that has never answered: it is more likely away than busy. */
const RETRIES_UNSEEN = 2;

/** Answers of a server that may be otherwise the next time. */
function isPassing(status: number): boolean {
  return status === 408 || status === 429 || status >= 500;
}

/** A URL for people: without the query, in which signatures of storage services are. */
export function displayUrl(url: URL): string {
  return `${url.origin}${url.pathname}`;
}

/** fetch says only "fetch failed"; what went wrong is its cause. */
export function networkReason(error: unknown): string {
  let inner = error;
  while (inner instanceof Error && inner.cause instanceof Error) inner = inner.cause;
  if (!(inner instanceof Error)) return String(inner);
  return (inner as NodeJS.ErrnoException).code ?? inner.message;
}

/**
 * Where a redirect leads: never to anything but http, and from https only to https.
 *
 * @throws {@link HubError}
 */
export function redirectTarget(from: URL, location: string): URL {
  let target: URL | undefined;
  try {
    target = new URL(location, from);
  } catch {}
  if (!target || !/^https?:$/.test(target.protocol) || (from.protocol === "https:" && target.protocol !== "https:"))
    throw new HubError("refused", `${displayUrl(from)} redirects to what is no ${from.protocol.slice(0, -1)} address`);
  return target;
}

/**
 * HTTP for the hub: through the environment's proxies, with the access token for the hub's own origin and nobody else,
 * redirects followed by hand for that reason, and repeated where the server or the connection fails.
 */
export class HubHttp {
  readonly settings: HubSettings;
  readonly retries: number;
  readonly #retryDelay: number;
  readonly #dispatcher: Dispatcher;
  readonly #origin: string;
  /** Whether anything has ever answered. */
  #seen = false;

  constructor(settings: HubSettings, options: NetworkOptions, env: Environment) {
    this.settings = settings;
    this.retries = options.retries ?? 5;
    this.#retryDelay = options.retryDelay ?? 500;
    this.#origin = new URL(settings.endpoint).origin;
    const idle = options.idleTimeout ?? 30_000;
    const timeouts = { connect: { timeout: CONNECT_TIMEOUT }, headersTimeout: idle, bodyTimeout: idle };
    const httpProxy = env.http_proxy ?? env.HTTP_PROXY ?? "";
    const httpsProxy = env.https_proxy ?? env.HTTPS_PROXY ?? "";
    const noProxy = env.no_proxy ?? env.NO_PROXY ?? "";
    this.#dispatcher =
      httpProxy || httpsProxy
        ? new EnvHttpProxyAgent({ ...timeouts, httpProxy, httpsProxy, noProxy })
        : new Agent(timeouts);
  }

  async close(): Promise<void> {
    await this.#dispatcher.destroy();
  }

  /**
   * The answer to a request, also one that says no; of the body nothing is read yet.
   *
   * @throws {@link HubError} "unreachable" after the last repetition, `ERR_ABORTED`
   */
  async request(url: string, options: RequestOptions = {}): Promise<Response> {
    const retries = options.retries ?? this.retries;
    for (let failures = 0; ; failures++) {
      let failed: string;
      let cause: unknown;
      let wait = this.pause(failures);
      try {
        const response = await this.#follow(new URL(url), options);
        this.#seen = true;
        if (!isPassing(response.status)) return response;
        await response.body?.cancel();
        failed = `answered ${response.status}`;
        const asked = Number(response.headers.get("retry-after") ?? Number.NaN) * 1000;
        if (asked > 0) wait = Math.min(asked, LONGEST_PAUSE);
      } catch (error) {
        throwIfAborted(options.signal);
        if (error instanceof HubError) throw error;
        failed = `cannot be reached (${networkReason(error)})`;
        cause = error;
      }
      if (failures >= (this.#seen ? retries : Math.min(retries, RETRIES_UNSEEN)))
        throw new HubError("unreachable", `${displayUrl(new URL(url))} ${failed}`, { cause });
      await this.sleep(wait, options.signal);
    }
  }

  /** Milliseconds to wait after so many failures. */
  pause(failures: number): number {
    return Math.min(this.#retryDelay * 2 ** failures, LONGEST_PAUSE);
  }

  async sleep(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
    await sleep(milliseconds, undefined, { signal }).catch(() => throwIfAborted(signal));
  }

  async #follow(start: URL, options: RequestOptions): Promise<Response> {
    const { method = "GET", signal, stayOnHub = false } = options;
    let url = start;
    for (let redirects = 0; redirects <= MAX_REDIRECTS; redirects++) {
      const headers = new Headers(options.headers);
      if (this.settings.token && url.origin === this.#origin)
        headers.set("authorization", this.settings.token.authorization());
      const response = await fetch(url, {
        method,
        headers,
        redirect: "manual",
        dispatcher: this.#dispatcher,
        ...(signal && { signal }),
      });
      const location = response.headers.get("location");
      if (response.status < 300 || response.status >= 400 || location === null) return response;
      const target = redirectTarget(url, location);
      if (stayOnHub && target.origin !== this.#origin) return response;
      await response.body?.cancel();
      url = target;
    }
    throw new HubError("refused", `${displayUrl(start)} redirects more than ${MAX_REDIRECTS} times`);
  }
}

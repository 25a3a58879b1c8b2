import type { Dispatcher, Headers } from "undici";
import { InstructPix2PixError, throwIfAborted } from "../core/errors.js";
import { sleep } from "../core/sleep.js";
import { Answer } from "./answer.js";
import { type DispatcherOptions, dispatcherFor } from "./dispatcher.js";
import { failureName, isPassing, retryAfter } from "./failure.js";
import { HttpError } from "./http-error.js";
import { type RequestBody, SentBytes } from "./request-body.js";
import { undici } from "./undici.js";
import { redirectTarget, urlAuthorization } from "./url.js";

/** What a client does, and may do with addresses that servers give. */
export interface HttpPolicy extends DispatcherOptions {
  /** Redirects to follow; others fail, or with "none" are the answer. Default "encrypted": from https only to https. */
  readonly redirects?: "none" | "encrypted" | "any";
  /**
   * The Authorization header for an address; asked anew for the target of each redirect. Default: the address's own
   * user name and password.
   */
  readonly authorize?: (url: URL) => string | undefined;
  /**
   * How often a failed request is tried again, and how often while no server has ever answered; milliseconds before the
   * first time, doubled with each unless the server names a time. Without it a status like 503 is an answer as any other.
   */
  readonly retry?: { readonly retries: number; readonly unseen: number; readonly delay: number };
}

export interface HttpRequest {
  readonly method?: Dispatcher.HttpMethod;
  /** Those that may hold secrets are not sent to another origin that the server redirects to. */
  readonly headers?: ConstructorParameters<typeof Headers>[0];
  readonly body?: RequestBody | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Whether to send the policy's Authorization header; default true. */
  readonly authorized?: boolean;
  /** A redirect that leads out of these addresses is the answer, without its body. */
  readonly within?: (url: URL) => boolean;
  /** Called with the bytes of a streamed body that are sent; negative for bytes that have to be sent again. */
  readonly onSent?: (bytes: number) => void;
}

export interface ReadRequest extends HttpRequest {
  /** The most bytes of the body, after decompression. */
  readonly maxBytes: number;
  /** The most bytes of the body of an answer that is not a success; a longer one counts as empty. Default 0. */
  readonly maxErrorBytes?: number;
  /** Milliseconds from the first attempt to the last byte. */
  readonly timeoutMs?: number;
  /** In place of the policy's. */
  readonly retries?: number | undefined;
}

const MAX_REDIRECTS = 10;
const LONGEST_PAUSE = 30_000;
const SECRET_HEADERS = ["authorization", "cookie", "proxy-authorization"];
const DEFAULT_HEADERS = { accept: "*/*", "accept-encoding": "gzip, deflate, br", "user-agent": "instruct-pix2pix" };

/** Requests over HTTP(S) under a policy. All failures are {@link HttpError}, or this package's own. */
export class HttpClient {
  readonly #policy: HttpPolicy;
  readonly #dispatcher: Dispatcher;
  /** Whether there was ever an answer. */
  #seen = false;

  constructor(policy: HttpPolicy) {
    this.#policy = policy;
    this.#dispatcher = dispatcherFor(policy);
  }

  async close(): Promise<void> {
    await this.#dispatcher.destroy();
  }

  /**
   * The answer, of any status, with its body read.
   *
   * @throws {@link HttpError}, `ERR_ABORTED`
   */
  async read(url: URL, request: ReadRequest): Promise<Answer> {
    const { signal: outer, timeoutMs, retries, onSent } = request;
    const limit = timeoutMs === undefined ? undefined : AbortSignal.timeout(timeoutMs);
    const signal = outer && limit ? AbortSignal.any([outer, limit]) : (outer ?? limit);
    const sent = new SentBytes(onSent);
    try {
      for (let failures = 1; ; failures++)
        try {
          return await this.#readOnce(url, { ...request, signal }, sent);
        } catch (error) {
          sent.takeBack();
          await this.pauseAfter(error, failures, signal, retries);
        }
    } catch (error) {
      throwIfAborted(outer);
      if (limit?.aborted) throw new HttpError("timeout", url, `it took longer than ${timeoutMs! / 1000} s`);
      throw error;
    }
  }

  async #readOnce(url: URL, request: ReadRequest, sent: SentBytes): Promise<Answer> {
    const { maxBytes, maxErrorBytes = 0, method, signal } = request;
    const answer = await this.open(url, request, sent);
    try {
      if (this.#policy.retry) assertLasting(answer);
      if (method === "HEAD") return answer;
      if (answer.status < 300) await answer.read(maxBytes);
      // What is wrong is told by the status; its explanation may be missing.
      else if (maxErrorBytes > 0) await answer.read(maxErrorBytes).catch(() => throwIfAborted(signal));
      return answer;
    } finally {
      answer.discard();
    }
  }

  /**
   * Waits before the next attempt.
   *
   * @param failures attempts that failed in a row
   * @throws the error if they were enough, or if it will not pass; `ERR_ABORTED`
   */
  async pauseAfter(error: unknown, failures: number, signal?: AbortSignal, retries?: number): Promise<void> {
    throwIfAborted(signal);
    const { retry } = this.#policy;
    if (!retry || !(error instanceof HttpError) || error.problem !== "unreachable") throw error;
    const most = retries ?? retry.retries;
    if (failures > (this.#seen ? most : Math.min(most, retry.unseen))) throw error;
    const wait = retryAfter(error.answer?.headers) ?? retry.delay * 2 ** (failures - 1);
    await sleep(Math.min(wait, LONGEST_PAUSE), signal);
  }

  /**
   * The answer to one attempt, after redirects; its body is not read yet.
   *
   * @throws {@link HttpError} "unreachable", "redirect"; `ERR_ABORTED`
   */
  async open(start: URL, request: HttpRequest, sent = new SentBytes(request.onSent)): Promise<Answer> {
    const { Headers } = undici();
    const headers = new Headers(DEFAULT_HEADERS);
    for (const [name, value] of new Headers(request.headers)) headers.set(name, value);
    let url = start;
    for (let redirects = 0; redirects <= MAX_REDIRECTS; redirects++) {
      throwIfAborted(request.signal);
      const answer = await this.#send(url, headers, request, sent);
      this.#seen = true;
      const target = this.#redirect(answer, request);
      if (!target) return answer;
      if (target.origin !== url.origin) for (const name of SECRET_HEADERS) headers.delete(name);
      url = target;
    }
    throw new HttpError("redirect", start, `it redirected more than ${MAX_REDIRECTS} times`);
  }

  /** Where an answer sends on to; undefined if it is to be returned. */
  #redirect(answer: Answer, { body, within }: HttpRequest): URL | undefined {
    const { url, status } = answer;
    const location = answer.headers.get("location");
    const { redirects = "encrypted" } = this.#policy;
    if (location === null || redirects === "none") return undefined;
    // Any other redirect of a request with a body would make a GET of it.
    if (!(body === undefined ? [301, 302, 303, 307, 308] : [307, 308]).includes(status)) return undefined;
    answer.discard();
    const target = redirectTarget(url, location, redirects === "any");
    return within && !within(target) ? undefined : target;
  }

  async #send(url: URL, headers: Headers, request: HttpRequest, sent: SentBytes): Promise<Answer> {
    const { method = "GET", body, signal, authorized = true } = request;
    const http = undici();
    const own = new http.Headers(headers);
    const authorization = authorized ? (this.#policy.authorize ?? urlAuthorization)(url) : undefined;
    if (authorization !== undefined) own.set("authorization", authorization);
    const isStreamed = typeof body === "object" && "chunks" in body;
    if (isStreamed) own.set("content-length", String(body.size));
    try {
      const answer = await http.request(url, {
        dispatcher: this.#dispatcher,
        method,
        headers: Object.fromEntries(own),
        body: isStreamed ? sent.stream(body) : body,
        signal,
      });
      return new Answer(url, answer);
    } catch (error) {
      throwIfAborted(signal);
      // From the body that was to be sent.
      if (error instanceof InstructPix2PixError) throw error;
      throw new HttpError("unreachable", url, `it cannot be reached (${failureName(error)})`, { cause: error });
    }
  }
}

/**
 * Throws for an answer that may be another one later.
 *
 * @throws {@link HttpError} "unreachable"
 */
export function assertLasting(answer: Answer): void {
  if (isPassing(answer.status)) throw new HttpError("unreachable", answer, `the server answered ${answer.status}`);
}

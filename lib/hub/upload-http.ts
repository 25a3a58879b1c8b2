import { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { Agent, type Dispatcher, EnvHttpProxyAgent, fetch, Headers, Response, request as send } from "undici";
import { throwIfAborted } from "../errors.js";
import type { Environment } from "../native/platform.js";
import { HubError } from "./errors.js";
import { displayUrl, type NetworkOptions, networkReason, redirectTarget } from "./http.js";
import type { HubSettings } from "./settings.js";
import { FileContent } from "./upload-file.js";

export interface UploadRequest {
  readonly method?: string;
  readonly headers?: Headers;
  readonly body?: string | FileContent | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Whether the hub is to know who asks. Another host never is. */
  readonly authorized?: boolean;
  /** Told of every piece of the body that is on its way; negative for what has to be sent again. */
  readonly onSent?: (bytes: number) => void;
}

/** An answer that says no. */
export class HubRefusal extends HubError {
  readonly status: number;
  /** Whether it was the hub itself and not a storage that it uses. */
  readonly byHub: boolean;
  /** What the server said, as it may stand in a message: empty, or after a colon. */
  readonly quoted: string;

  constructor(message: string, answer: { status: number; byHub: boolean; quoted: string }) {
    super("refused", message);
    this.status = answer.status;
    this.byHub = answer.byHub;
    this.quoted = answer.quoted;
  }
}

/** A storage may think about the last bytes of a large file for a while. */
const IDLE_TIMEOUT = 120_000;
/** After a night of training a hub that is away for a minute is waited for. */
const RETRIES = 8;
/** A hub that has never answered is more likely away than busy. */
const RETRIES_UNSEEN = 2;
const CONNECT_TIMEOUT = 10_000;
const LONGEST_PAUSE = 30_000;
const MAX_REDIRECTS = 10;
const MAX_ERROR_BYTES = 16_384;

/**
 * HTTP for uploads: requests with a body, repeated where the server or the connection fails, with the access token for
 * requests to the hub's own origin that ask for it and for nothing else.
 */
export class UploadHttp {
  readonly settings: HubSettings;
  readonly #retries: number;
  readonly #retryDelay: number;
  readonly #dispatcher: Dispatcher;
  readonly #origin: string;
  #seen = false;

  constructor(settings: HubSettings, options: NetworkOptions, env: Environment) {
    this.settings = settings;
    this.#retries = options.retries ?? RETRIES;
    this.#retryDelay = options.retryDelay ?? 500;
    this.#origin = new URL(settings.endpoint).origin;
    const idle = options.idleTimeout ?? IDLE_TIMEOUT;
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
   * The answer to a request, of whose body nothing is read yet.
   *
   * @throws {@link HubRefusal}, {@link HubError} "unreachable" after the last repetition, `ERR_ABORTED`
   */
  async request(address: string, request: UploadRequest = {}): Promise<Response> {
    const url = new URL(address);
    for (let failures = 0; ; failures++) {
      let sent = 0;
      let over = false;
      const onSent = (bytes: number) => {
        // What a connection that broke has swallowed comes late.
        if (over) return;
        sent += bytes;
        request.onSent?.(bytes);
      };
      let failed: string;
      let cause: unknown;
      let wait = Math.min(this.#retryDelay * 2 ** failures, LONGEST_PAUSE);
      throwIfAborted(request.signal);
      try {
        const response = await this.#follow(url, { ...request, onSent });
        this.#seen = true;
        if (response.ok) return response;
        if (!isPassing(response.status)) throw await this.#refusal(url, response);
        await response.body?.cancel().catch(() => {});
        failed = `answered ${response.status}`;
        const asked = Number(response.headers.get("retry-after") ?? Number.NaN) * 1000;
        if (asked > 0) wait = Math.min(asked, LONGEST_PAUSE);
      } catch (error) {
        throwIfAborted(request.signal);
        if (error instanceof HubError) throw error;
        failed = `cannot be reached (${networkReason(error)})`;
        cause = error;
      }
      over = true;
      request.onSent?.(-sent);
      if (failures >= (this.#seen ? this.#retries : Math.min(this.#retries, RETRIES_UNSEEN)))
        throw new HubError("unreachable", `${displayUrl(url)} ${failed}`, { cause });
      await sleep(wait, undefined, { ...(request.signal && { signal: request.signal }) }).catch(() =>
        throwIfAborted(request.signal),
      );
    }
  }

  /** What a server says, made fit for a message: one line, short, without the token, which it may repeat. */
  clean(words: string): string {
    const redacted = this.settings.token?.redact(words) ?? words;
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what a message must not hold
    return redacted.replace(/[\u0000-\u001f\u007f-\u009f]+/g, " ").slice(0, 200);
  }

  async #follow(start: URL, request: UploadRequest): Promise<Response> {
    let url = start;
    for (let redirects = 0; redirects <= MAX_REDIRECTS; redirects++) {
      const response = await this.#send(url, request);
      const location = response.headers.get("location");
      const { status } = response;
      if (status < 300 || status >= 400 || location === null) return response;
      // Others than these turn what is sent into a question.
      if (request.body !== undefined && status !== 307 && status !== 308) return response;
      await response.body?.cancel().catch(() => {});
      url = redirectTarget(url, location);
    }
    throw new HubError("refused", `${displayUrl(start)} redirects more than ${MAX_REDIRECTS} times`);
  }

  async #send(
    url: URL,
    { method = "GET", body, signal, authorized, onSent, ...rest }: UploadRequest,
  ): Promise<Response> {
    const headers = new Headers(rest.headers);
    headers.delete("authorization");
    if (authorized && this.settings.token && url.origin === this.#origin)
      headers.set("authorization", this.settings.token.authorization());
    const common = { headers, dispatcher: this.#dispatcher, ...(signal && { signal }) };
    if (body instanceof FileContent) return await sendFile(url, method, body, common, onSent);
    return await fetch(url, { method, redirect: "manual", ...common, ...(body !== undefined && { body }) });
  }

  async #refusal(url: URL, response: Response): Promise<HubRefusal> {
    const words = response.headers.get("x-error-message") ?? (await errorText(response));
    await response.body?.cancel().catch(() => {});
    const line = this.clean(words);
    const { status } = response;
    const byHub = url.origin === this.#origin;
    const quoted = line && `: ${line}`;
    const message = `${displayUrl(url)}: the ${byHub ? "hub" : "storage"} answered ${status}${quoted}`;
    return new HubRefusal(message, { status, byHub, quoted });
  }
}

/** Not by `fetch`, which keeps what it sends until the end. */
async function sendFile(
  url: URL,
  method: string,
  content: FileContent,
  options: { headers: Headers; dispatcher: Dispatcher; signal?: AbortSignal },
  onSent: ((bytes: number) => void) | undefined,
): Promise<Response> {
  // Storages want to know the length before the content.
  options.headers.set("content-length", String(content.size));
  const { statusCode, headers, body } = await send(url, {
    ...options,
    headers: Object.fromEntries(options.headers),
    method: method as Dispatcher.HttpMethod,
    body: Readable.from(counted(content, onSent), { objectMode: false }),
  });
  const answer = new Headers();
  for (const [name, value] of Object.entries(headers)) for (const one of [value ?? []].flat()) answer.append(name, one);
  const hasBody = ![204, 205, 304].includes(statusCode);
  if (!hasBody) await body.dump();
  return new Response(hasBody ? body : null, { status: statusCode, headers: answer });
}

async function* counted(content: FileContent, onSent: ((bytes: number) => void) | undefined) {
  for await (const chunk of content.chunks()) {
    yield chunk;
    onSent?.(chunk.length);
  }
}

/** Answers of a server that may be otherwise the next time. */
function isPassing(status: number): boolean {
  return status === 408 || status === 429 || status >= 500;
}

/** `{"error": "…"}` of a JSON answer, else an empty text. */
async function errorText(response: Response): Promise<string> {
  if (!response.headers.get("content-type")?.startsWith("application/json")) return "";
  try {
    let text = "";
    const decoder = new TextDecoder();
    for await (const chunk of response.body ?? []) {
      text += decoder.decode(chunk as Uint8Array, { stream: true });
      if (text.length > MAX_ERROR_BYTES) return "";
    }
    const { error } = JSON.parse(text) as { error?: unknown };
    return typeof error === "string" ? error : "";
  } catch {
    return "";
  }
}

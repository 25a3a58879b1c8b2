import { Readable } from "node:stream";
import { type Dispatcher, fetch, Headers, Response, request as send } from "undici";
import { throwIfAborted } from "../core/errors.js";
import { addressWithin } from "../network/encryption.js";
import type { Environment } from "../runtime/platform.js";
import { displayUrl, followRedirects, HubConnection, type NetworkOptions, withBody } from "./connection.js";
import { HubError } from "./errors.js";
import type { HubSettings } from "./settings.js";
import { FileContent } from "./upload-file.js";

export interface UploadRequest {
  readonly method?: string;
  readonly headers?: Headers;
  readonly body?: string | FileContent | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Whether to send the access token; never sent to other hosts. */
  readonly authorized?: boolean;
  /** Called with the bytes sent; negative for bytes that have to be sent again. */
  readonly onSent?: (bytes: number) => void;
}

/** An error response. */
export class HubRefusal extends HubError {
  readonly status: number;
  /** Whether it came from the hub itself, not from a storage host. */
  readonly byHub: boolean;
  /** The server's text for a message: empty, or with a leading colon. */
  readonly quoted: string;

  constructor(message: string, answer: { status: number; byHub: boolean; quoted: string }) {
    super("refused", message);
    this.status = answer.status;
    this.byHub = answer.byHub;
    this.quoted = answer.quoted;
  }
}

/** A storage host may take a while to finish a large file. */
const IDLE_TIMEOUT = 120_000;
/** More retries than for downloads: a trained model should survive a short outage. */
const RETRIES = 8;
const MAX_ERROR_BYTES = 16_384;

/** HTTP for uploads: requests with a body, with the access token where requested. */
export class UploadHttp extends HubConnection {
  constructor(settings: HubSettings, options: NetworkOptions, env: Environment) {
    const { retries = RETRIES, idleTimeout = IDLE_TIMEOUT } = options;
    super(settings, { ...options, retries, idleTimeout }, env);
  }

  /**
   * The response to a request, its body read.
   *
   * @throws {@link HubRefusal}, {@link HubError} "unreachable" after the last repetition and "refused" for an answer that
   *   is too long, `ERR_ABORTED`
   */
  async request(address: string, request: UploadRequest = {}): Promise<Response> {
    // Storage URLs come from the hub's responses.
    const url = addressWithin(new URL(this.settings.endpoint), address);
    if (!url) throw new HubError("refused", `${this.settings.endpoint}: the hub gave an invalid upload address`);
    const { signal } = request;
    let sent: SentBytes | undefined;
    const attempt = async () => {
      const response = await this.#follow(url, request, (sent = new SentBytes(request.onSent)));
      return response.ok ? await withBody(response, displayUrl(url)) : response;
    };
    const response = await this.repeat(url, attempt, { signal, onFailure: () => sent?.takeBack() });
    if (response.ok) return response;
    const refusal = await this.#refusal(url, response);
    throwIfAborted(signal);
    throw refusal;
  }

  async #follow(start: URL, request: UploadRequest, sent: SentBytes): Promise<Response> {
    return await followRedirects(
      start,
      (url) => this.#send(url, request, sent),
      // Other redirects would turn the request into a GET.
      ({ status }) => request.body !== undefined && status !== 307 && status !== 308,
    );
  }

  async #send(
    url: URL,
    { method = "GET", body, signal, authorized, ...rest }: UploadRequest,
    sent: SentBytes,
  ): Promise<Response> {
    const headers = new Headers(rest.headers);
    headers.delete("authorization");
    if (authorized) this.authorize(url, headers);
    const common = { headers, dispatcher: this.dispatcher, ...(signal && { signal }) };
    if (body instanceof FileContent) return await sendFile(url, method, body, common, sent);
    return await fetch(url, { method, redirect: "manual", ...common, ...(body !== undefined && { body }) });
  }

  async #refusal(url: URL, response: Response): Promise<HubRefusal> {
    const words = response.headers.get("x-error-message") ?? (await errorText(response));
    await response.body?.cancel().catch(() => {});
    const line = this.clean(words);
    const { status } = response;
    const byHub = this.isHub(url);
    const quoted = line && `: ${line}`;
    const message = `${displayUrl(url)}: the ${byHub ? "hub" : "storage"} answered ${status}${quoted}`;
    return new HubRefusal(message, { status, byHub, quoted });
  }
}

/** Counts the bytes of one attempt. */
class SentBytes {
  readonly #tell: ((bytes: number) => void) | undefined;
  #bytes = 0;
  #over = false;

  constructor(tell: ((bytes: number) => void) | undefined) {
    this.#tell = tell;
  }

  add(bytes: number): void {
    // Chunks of a failed attempt may still be reported.
    if (this.#over) return;
    this.#bytes += bytes;
    this.#tell?.(bytes);
  }

  /** The attempt failed: all its bytes have to be sent again. */
  takeBack(): void {
    this.#over = true;
    this.#tell?.(-this.#bytes);
  }
}

/** Not by `fetch`, which keeps the whole body in memory. */
async function sendFile(
  url: URL,
  method: string,
  content: FileContent,
  options: { headers: Headers; dispatcher: Dispatcher; signal?: AbortSignal },
  sent: SentBytes,
): Promise<Response> {
  // Storage hosts require a Content-Length.
  options.headers.set("content-length", String(content.size));
  const { statusCode, headers, body } = await send(url, {
    ...options,
    headers: Object.fromEntries(options.headers),
    method: method as Dispatcher.HttpMethod,
    body: Readable.from(counted(content, sent), { objectMode: false }),
  });
  const answer = new Headers();
  for (const [name, value] of Object.entries(headers)) for (const one of [value ?? []].flat()) answer.append(name, one);
  const hasBody = ![204, 205, 304].includes(statusCode);
  if (!hasBody) await body.dump();
  return new Response(hasBody ? body : null, { status: statusCode, headers: answer });
}

async function* counted(content: FileContent, sent: SentBytes) {
  for await (const chunk of content.chunks()) {
    yield chunk;
    sent.add(chunk.length);
  }
}

/** The `error` of a JSON response, else an empty string. */
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

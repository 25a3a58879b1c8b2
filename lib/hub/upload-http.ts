import { Readable } from "node:stream";
import { type Dispatcher, fetch, Headers, Response, request as send } from "undici";
import { throwIfAborted } from "../errors.js";
import type { Environment } from "../native/platform.js";
import { addressWithin } from "../network/encryption.js";
import { displayUrl, followRedirects, HubConnection, type NetworkOptions } from "./connection.js";
import { HubError } from "./errors.js";
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
const MAX_ERROR_BYTES = 16_384;

/** HTTP for uploads: requests with a body, with the access token for those that ask for it. */
export class UploadHttp extends HubConnection {
  constructor(settings: HubSettings, options: NetworkOptions, env: Environment) {
    const { retries = RETRIES, idleTimeout = IDLE_TIMEOUT } = options;
    super(settings, { ...options, retries, idleTimeout }, env);
  }

  /**
   * The answer to a request, of whose body nothing is read yet.
   *
   * @throws {@link HubRefusal}, {@link HubError} "unreachable" after the last repetition, `ERR_ABORTED`
   */
  async request(address: string, request: UploadRequest = {}): Promise<Response> {
    // The addresses of storages come from the hub's answers.
    const url = addressWithin(new URL(this.settings.endpoint), address);
    if (!url) throw new HubError("refused", `${this.settings.endpoint}: the hub names what is no address to upload to`);
    const { signal } = request;
    let sent: SentBytes | undefined;
    const attempt = () => this.#follow(url, request, (sent = new SentBytes(request.onSent)));
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
      // Others than these turn what is sent into a question.
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

/** What one try has sent, until it fails. */
class SentBytes {
  readonly #tell: ((bytes: number) => void) | undefined;
  #bytes = 0;
  #over = false;

  constructor(tell: ((bytes: number) => void) | undefined) {
    this.#tell = tell;
  }

  add(bytes: number): void {
    // What a connection that broke has swallowed comes late.
    if (this.#over) return;
    this.#bytes += bytes;
    this.#tell?.(bytes);
  }

  /** All of it has to be sent again. */
  takeBack(): void {
    this.#over = true;
    this.#tell?.(-this.#bytes);
  }
}

/** Not by `fetch`, which keeps what it sends until the end. */
async function sendFile(
  url: URL,
  method: string,
  content: FileContent,
  options: { headers: Headers; dispatcher: Dispatcher; signal?: AbortSignal },
  sent: SentBytes,
): Promise<Response> {
  // Storages want to know the length before the content.
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

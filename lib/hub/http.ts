import type { Response } from "undici";
import { optionNames } from "../core/known-options.js";
import type { Answer } from "../network/answer.js";
import { warnIfUnencrypted } from "../network/encryption.js";
import { HttpClient, type ReadRequest } from "../network/http-client.js";
import { HttpError } from "../network/http-error.js";
import { undici } from "../network/undici.js";
import { displayUrl } from "../network/url.js";
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

/** The names of {@link NetworkOptions}. */
export const NETWORK_OPTIONS = optionNames<NetworkOptions>()({ retries: true, retryDelay: true, idleTimeout: true });

/** Bytes of an answer; a page of the hub's listings has a thousand files. */
const MAX_ANSWER = 2 ** 24;

/** HTTP with the hub and its storage hosts; the access token is sent to the hub's own origin only. */
export class HubHttp {
  readonly settings: HubSettings;
  readonly client: HttpClient;
  readonly #origin: string;

  constructor(settings: HubSettings, options: NetworkOptions, env: Environment) {
    const { retries = 5, retryDelay = 500, idleTimeout = 30_000 } = options;
    const { token } = settings;
    this.settings = settings;
    const endpoint = new URL(settings.endpoint);
    this.#origin = endpoint.origin;
    if (token) warnIfUnencrypted("HF_ENDPOINT", endpoint, "the access token");
    this.client = new HttpClient({
      env,
      idleTimeout,
      retry: { retries, unseen: 2, delay: retryDelay },
      authorize: (url) => (this.isHub(url) ? token?.authorization() : undefined),
    });
  }

  async close(): Promise<void> {
    await this.client.close();
  }

  /** Whether a URL is on the hub itself, not on a storage host. */
  isHub(url: URL): boolean {
    return url.origin === this.#origin;
  }

  /**
   * The answer to a request, of any status.
   *
   * @throws {@link HubError} "unreachable" after the last repetition, "refused"; `ERR_ABORTED`
   */
  async read(url: URL, request: Omit<ReadRequest, "maxBytes">): Promise<Answer> {
    return await this.client.read(url, { ...request, maxBytes: MAX_ANSWER }).catch((error: unknown) => {
      throw hubFailure(error);
    });
  }

  /** Cleans a server's text for a message: one line, short, without the token, which it may repeat. */
  clean(words: string): string {
    const redacted = this.settings.token?.redact(words) ?? words;
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what a message must not hold
    return redacted.replace(/[\u0000-\u001f\u007f-\u009f]+/g, " ").slice(0, 200);
  }
}

/** The {@link HubError} for a failure of the client; any other error is returned unchanged. */
export function hubFailure(error: unknown): unknown {
  if (!(error instanceof HttpError)) return error;
  const { problem, url, message, cause } = error;
  const said = problem === "size" ? `the answer is longer than ${MAX_ANSWER} bytes` : message;
  const failure = problem === "unreachable" ? "unreachable" : "refused";
  return new HubError(failure, `${displayUrl(url)}: ${said}`, { cause });
}

/** An answer in the form that the hub's own client reads. */
export function toResponse({ bytes, status, headers }: Answer): Response {
  return new (undici().Response)(bytes.length > 0 ? bytes : null, { status, headers });
}

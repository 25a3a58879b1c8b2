import { warnIfUnencrypted } from "../../network/encryption.js";
import { retryAfter } from "../../network/failure.js";
import { HttpClient, type HttpRequest } from "../../network/http-client.js";
import { HttpError } from "../../network/http-error.js";
import { addressWithin } from "../../network/url.js";
import type { Environment } from "../../runtime/platform.js";

/** The kind of a failed request: `passing` is transient, `refused` is permanent. */
export class WandbError extends Error {
  readonly kind: "passing" | "refused";
  /** The server's Retry-After in milliseconds. */
  readonly retryAfter: number | undefined;

  constructor(kind: "passing" | "refused", message: string, retryAfter?: number) {
    super(message);
    this.kind = kind;
    this.retryAfter = retryAfter;
  }
}

/** Statuses that W&B's own clients do not retry. */
const FINAL_STATUSES = new Set([400, 401, 403, 404, 409, 410, 413, 422, 501]);
const REQUEST_TIMEOUT = 30_000;
const UPLOAD_TIMEOUT = 180_000;
const MAX_ANSWER = 16 << 20;
const MAX_ERROR_BYTES = 16_384;

/** Requests to a W&B server, through the environment's proxies; the key is only sent to that server. */
export class WandbHttp {
  readonly #baseUrl: string;
  readonly #client: HttpClient;

  constructor(baseUrl: string, apiKey: string, env: Environment) {
    this.#baseUrl = baseUrl;
    const server = new URL(baseUrl);
    warnIfUnencrypted("WANDB_BASE_URL", server, "the API key");
    const authorization = `Basic ${Buffer.from(`api:${apiKey}`).toString("base64")}`;
    this.#client = new HttpClient({
      env,
      redirects: "none",
      // On other hosts an upload URL itself is the authorisation.
      authorize: (url) => (url.origin === server.origin ? authorization : undefined),
    });
  }

  /**
   * The data of a GraphQL query or mutation.
   *
   * @throws {@link WandbError}
   */
  async graphql(query: string, variables: object, signal: AbortSignal): Promise<Record<string, unknown>> {
    const answer = await this.post("/graphql", { query, variables }, signal);
    const { data, errors } = answer as { data?: unknown; errors?: unknown };
    if (Array.isArray(errors) && errors.length > 0) {
      const { message } = errors[0] as { message?: unknown };
      throw new WandbError("refused", `it answered: ${oneLine(String(message))}`);
    }
    if (typeof data !== "object" || data === null) throw new WandbError("passing", "its answer holds no data");
    return data as Record<string, unknown>;
  }

  /**
   * Sends JSON and reads JSON.
   *
   * @throws {@link WandbError}
   */
  async post(path: string, body: object, signal: AbortSignal): Promise<object> {
    const headers = { "content-type": "application/json" };
    const request = { method: "POST", headers, body: JSON.stringify(body), signal } as const;
    const text = await this.#read(new URL(this.#baseUrl + path), request, REQUEST_TIMEOUT);
    try {
      const answer: unknown = JSON.parse(text);
      if (typeof answer === "object" && answer !== null) return answer;
    } catch {}
    throw new WandbError("passing", "its answer is not JSON");
  }

  /**
   * Uploads a file to a URL given by the server.
   *
   * @param url absolute, or relative to the server
   * @param headerLines `Name:value`
   * @throws {@link WandbError}
   */
  async upload(url: string, headerLines: readonly string[], content: Uint8Array, signal: AbortSignal): Promise<void> {
    const target = addressWithin(new URL(this.#baseUrl), url);
    if (!target) throw new WandbError("refused", "it gave no upload URL for a file");
    const headers: [string, string][] = headerLines.map((line) => {
      const colon = line.indexOf(":");
      return [line.slice(0, colon).trim(), line.slice(colon + 1).trim()];
    });
    await this.#read(target, { method: "PUT", headers, body: content, signal }, UPLOAD_TIMEOUT);
  }

  async close(): Promise<void> {
    await this.#client.close();
  }

  async #read(url: URL, request: HttpRequest, timeoutMs: number): Promise<string> {
    const { host } = url;
    const limits = { maxBytes: MAX_ANSWER, maxErrorBytes: MAX_ERROR_BYTES, timeoutMs };
    const answer = await this.#client.read(url, { ...request, ...limits }).catch((error: unknown) => {
      // The caller's signal may be a time limit too.
      const why = error instanceof HttpError ? error.problem : request.signal?.reason?.name;
      const late = why === "timeout" || why === "TimeoutError";
      throw new WandbError("passing", `${host}: ${late ? "no answer in time" : (error as Error).message}`);
    });
    const { status, headers } = answer;
    const text = answer.bytes.toString();
    if (status < 300) return text;
    if (status < 400) throw new WandbError("refused", `${host} redirects elsewhere; is WANDB_BASE_URL right?`);
    if (FINAL_STATUSES.has(status)) throw new WandbError("refused", `${host} answered ${status}${reasonIn(text)}`);
    throw new WandbError("passing", `${host} answered ${status}`, retryAfter(headers));
  }
}

/** The message of an error response in the format of GraphQL or W&B's services. */
function reasonIn(text: string): string {
  try {
    const { error, errors } = JSON.parse(text) as { error?: unknown; errors?: { message?: unknown }[] };
    const reason = errors?.[0]?.message ?? error;
    return typeof reason === "string" && reason ? ` (${oneLine(reason)})` : "";
  } catch {
    return "";
  }
}

function oneLine(text: string): string {
  const line = text.replace(/\s+/g, " ").trim();
  return line.length > 200 ? `${line.slice(0, 197)}...` : line;
}

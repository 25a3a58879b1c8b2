import { type Dispatcher, fetch, type RequestInit } from "undici";
import { isError } from "../../core/errors.js";
import { readBody } from "../../network/body.js";
import { dispatcherFor } from "../../network/dispatcher.js";
import { addressWithin, warnIfUnencrypted } from "../../network/encryption.js";
import { failureName, retryAfter } from "../../network/failure.js";
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
const CONNECT_TIMEOUT = 10_000;
const REQUEST_TIMEOUT = 30_000;
const UPLOAD_TIMEOUT = 180_000;
const LONGEST_ANSWER = 16 << 20;

/** Requests to a W&B server, through the environment's proxies; the key is only sent to that server. */
export class WandbHttp {
  readonly #baseUrl: string;
  readonly #authorization: string;
  readonly #dispatcher: Dispatcher;

  constructor(baseUrl: string, apiKey: string, env: Environment) {
    this.#baseUrl = baseUrl;
    warnIfUnencrypted("WANDB_BASE_URL", new URL(baseUrl), "the API key");
    this.#authorization = `Basic ${Buffer.from(`api:${apiKey}`).toString("base64")}`;
    this.#dispatcher = dispatcherFor(env, { connect: { timeout: CONNECT_TIMEOUT } });
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
    const headers = { authorization: this.#authorization, "content-type": "application/json" };
    const init = { method: "POST", headers, body: JSON.stringify(body) };
    const text = await this.#fetch(this.#baseUrl + path, init, REQUEST_TIMEOUT, signal);
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
    // On other hosts the URL itself is the authorisation.
    if (target.origin === new URL(this.#baseUrl).origin) headers.push(["authorization", this.#authorization]);
    await this.#fetch(target.href, { method: "PUT", headers, body: content }, UPLOAD_TIMEOUT, signal);
  }

  async close(): Promise<void> {
    await this.#dispatcher.destroy();
  }

  async #fetch(url: string, init: RequestInit, timeout: number, signal: AbortSignal): Promise<string> {
    const { host } = new URL(url);
    let status: number;
    let pause: number | undefined;
    let text: string;
    try {
      const response = await fetch(url, {
        ...init,
        redirect: "manual",
        dispatcher: this.#dispatcher,
        signal: AbortSignal.any([signal, AbortSignal.timeout(timeout)]),
      });
      status = response.status;
      pause = retryAfter(response.headers);
      text = (await readBody(response.body, LONGEST_ANSWER))?.toString() ?? "";
    } catch (error) {
      const timedOut = isError(error) && error.name === "TimeoutError";
      throw new WandbError(
        "passing",
        `${host} cannot be reached (${timedOut ? "no answer in time" : failureName(error)})`,
      );
    }
    if (status >= 200 && status < 300) return text;
    if (status >= 300 && status < 400)
      throw new WandbError("refused", `${host} redirects elsewhere; is WANDB_BASE_URL right?`);
    if (FINAL_STATUSES.has(status)) throw new WandbError("refused", `${host} answered ${status}${reasonIn(text)}`);
    throw new WandbError("passing", `${host} answered ${status}`, pause);
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

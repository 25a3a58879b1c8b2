import type { Response } from "undici";
import type { Answer } from "../network/answer.js";
import type { HttpRequest } from "../network/http-client.js";
import { addressWithin, displayUrl } from "../network/url.js";
import type { Environment } from "../runtime/platform.js";
import { HubError } from "./errors.js";
import { HubHttp, type NetworkOptions, toResponse } from "./http.js";
import type { HubSettings } from "./settings.js";

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
export class UploadHttp extends HubHttp {
  constructor(settings: HubSettings, options: NetworkOptions, env: Environment) {
    const { retries = RETRIES, idleTimeout = IDLE_TIMEOUT } = options;
    super(settings, { ...options, retries, idleTimeout }, env);
  }

  /**
   * The successful response to a request.
   *
   * @throws {@link HubRefusal}, {@link HubError} "unreachable" after the last repetition, `ERR_ABORTED`
   */
  async request(address: string, request: HttpRequest): Promise<Response> {
    // Storage URLs come from the hub's responses.
    const url = addressWithin(new URL(this.settings.endpoint), address);
    if (!url) throw new HubError("refused", `${this.settings.endpoint}: the hub gave an invalid upload address`);
    const answer = await this.read(url, { ...request, maxErrorBytes: MAX_ERROR_BYTES });
    if (answer.status < 300) return toResponse(answer);
    throw this.#refusal(url, answer);
  }

  #refusal(url: URL, answer: Answer): HubRefusal {
    const line = this.clean(answer.headers.get("x-error-message") ?? errorText(answer));
    const { status } = answer;
    const byHub = this.isHub(url);
    const quoted = line && `: ${line}`;
    const message = `${displayUrl(url)}: the ${byHub ? "hub" : "storage"} answered ${status}${quoted}`;
    return new HubRefusal(message, { status, byHub, quoted });
  }
}

/** The `error` of a JSON response, else an empty string. */
function errorText({ headers, bytes }: Answer): string {
  if (!headers.get("content-type")?.startsWith("application/json")) return "";
  try {
    const { error } = JSON.parse(bytes.toString()) as { error?: unknown };
    return typeof error === "string" ? error : "";
  } catch {
    return "";
  }
}

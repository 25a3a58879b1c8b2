import { HttpError } from "../errors.js";

/** Clients whose allowance is full again are forgotten when so many are known. */
const MANY = 1000;

/** Seconds that sums of fractions may be off by. */
const ROUNDING = 1e-6;

/** Requests that a client may still make now, and when that was counted, in seconds. */
interface Allowance {
  left: number;
  at: number;
}

/**
 * Bounds the requests of a client over time. Each has an allowance of a minute's requests, which grows again at that rate, so
 * that a client may send some at once.
 */
export class Rates {
  readonly #now: () => number;
  readonly #clients = new Map<string, Allowance>();

  /** @param now seconds */
  constructor(now: () => number = () => performance.now() / 1000) {
    this.#now = now;
  }

  /**
   * Counts a request.
   *
   * @param perMinute the client's; undefined for any number
   * @throws a 429 that says when the next request is possible
   */
  take(client: string, perMinute: number | undefined): void {
    if (perMinute === undefined) return;
    const now = this.#now();
    const known = this.#clients.get(client) ?? { left: perMinute, at: now };
    const left = Math.min(perMinute, known.left + ((now - known.at) * perMinute) / 60);
    if (left < 1 - ROUNDING) {
      const retryAfter = Math.max(1, Math.ceil(((1 - left) * 60) / perMinute - ROUNDING));
      const message = `this client may send ${perMinute} requests in a minute`;
      throw new HttpError(429, "ERR_RATE", message, { retryAfter });
    }
    if (this.#clients.size >= MANY) this.#forget(now);
    this.#clients.set(client, { left: left - 1, at: now });
  }

  /** Nobody's allowance takes longer than a minute to be full. */
  #forget(now: number): void {
    for (const [client, { at }] of this.#clients) if (now - at >= 60) this.#clients.delete(client);
  }
}

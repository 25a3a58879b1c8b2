import { HttpError } from "./errors.js";
import type { ServerSettings } from "./options.js";

type QueueBounds = Pick<ServerSettings, "places" | "placesPerClient" | "concurrency">;

/**
 * Bounds the requests in progress. A request enters before its body is read, if there is a place, and leaves when its
 * response is sent or its client has disconnected. Inside, tasks run first in, first out, a few at a time.
 */
export class BoundedQueue {
  readonly #bounds: QueueBounds;
  readonly #lingering: () => number;
  /** How many places each client holds. */
  readonly #clients = new Map<string, number>();
  #entered = 0;
  #running = 0;
  /** How each begins, and who is told its position, in the order of their arrival. */
  readonly #waiting = new Map<() => void, ((position: number) => void) | undefined>();
  #meanSeconds = 1;

  /** @param lingering how many tasks still run for requests that have left */
  constructor(bounds: QueueBounds, lingering: () => number) {
    this.#bounds = bounds;
    this.#lingering = lingering;
  }

  get inside(): number {
    return this.#entered + this.#lingering();
  }

  get running(): number {
    return this.#running;
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  /**
   * Takes a place until the returned function is called.
   *
   * @param placesPerClient the client's maximum
   * @throws a 429 with a time to retry when there is none, or the client holds its maximum
   */
  enter(client: string, placesPerClient = this.#bounds.placesPerClient): () => void {
    const { places } = this.#bounds;
    const held = this.#clients.get(client) ?? 0;
    if (this.inside >= places) throw this.#full("ERR_BUSY", "too many requests are waiting");
    if (held >= placesPerClient)
      throw this.#full("ERR_TOO_MANY_REQUESTS", "too many requests of this client are waiting");
    this.#entered++;
    this.#clients.set(client, held + 1);
    return () => this.#leave(client);
  }

  #full(code: string, message: string): HttpError {
    return new HttpError(429, code, message, { retryAfter: this.#secondsUntilAPlace() });
  }

  #leave(client: string): void {
    this.#entered--;
    const held = this.#clients.get(client) ?? 0;
    if (held > 1) this.#clients.set(client, held - 1);
    else this.#clients.delete(client);
  }

  /**
   * Runs a task when it is its turn. An abort before that removes it from the queue.
   *
   * @param onPosition told while it waits how many tasks come before it, those that run not counted, and when that changes
   */
  async run<T>(task: () => Promise<T>, signal: AbortSignal, onPosition?: (position: number) => void): Promise<T> {
    await this.#turn(signal, onPosition);
    const begun = performance.now();
    try {
      return await task();
    } finally {
      this.#meanSeconds += 0.1 * ((performance.now() - begun) / 1000 - this.#meanSeconds);
      this.#next();
    }
  }

  async #turn(signal: AbortSignal, onPosition?: (position: number) => void): Promise<void> {
    signal.throwIfAborted();
    if (this.#running < this.#bounds.concurrency) {
      this.#running++;
      return;
    }
    await new Promise<void>((resolve, reject) => {
      const begin = () => {
        signal.removeEventListener("abort", giveUp);
        resolve();
      };
      const giveUp = () => {
        this.#waiting.delete(begin);
        this.#tellPositions();
        reject(signal.reason);
      };
      onPosition?.(this.#waiting.size);
      this.#waiting.set(begin, onPosition);
      signal.addEventListener("abort", giveUp, { once: true });
    });
  }

  /** Passes the turn to the next task, or frees it. */
  #next(): void {
    const [first] = this.#waiting.keys();
    if (!first) {
      this.#running--;
      return;
    }
    this.#waiting.delete(first);
    first();
    this.#tellPositions();
  }

  #tellPositions(): void {
    let position = 0;
    for (const tell of this.#waiting.values()) tell?.(position++);
  }

  /** An estimate of when a task begins that so many come before. */
  secondsUntil(position: number): number {
    return (this.#meanSeconds * (1 + position)) / this.#bounds.concurrency;
  }

  #secondsUntilAPlace(): number {
    return Math.min(600, Math.max(1, Math.ceil(this.secondsUntil(this.waiting))));
  }
}

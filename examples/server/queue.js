import { HttpError } from "./errors.js";

/**
 * Bounds the requests in progress. A request enters before its body is read, if there is a place, and leaves when its
 * response is sent or its client has disconnected. Inside, tasks run first in, first out, a few at a time.
 */
export class BoundedQueue {
  #places;
  #placesPerClient;
  #concurrency;
  #lingering;
  /** @type {Map<string, number>} how many places each client holds */
  #clients = new Map();
  #entered = 0;
  #running = 0;
  /** @type {Set<() => void>} in the order of their arrival */
  #waiting = new Set();
  #meanSeconds = 1;

  /**
   * @param {{ places: number, placesPerClient: number, concurrency: number }} bounds
   * @param {() => number} lingering how many tasks still run for requests that have left
   */
  constructor({ places, placesPerClient, concurrency }, lingering) {
    this.#places = places;
    this.#placesPerClient = placesPerClient;
    this.#concurrency = concurrency;
    this.#lingering = lingering;
  }

  get inside() {
    return this.#entered + this.#lingering();
  }

  get running() {
    return this.#running;
  }

  get waiting() {
    return this.#waiting.size;
  }

  /**
   * Takes a place until the returned function is called. Throws, with a retry time, a 503 when there is none, and a 429
   * when the client holds its maximum.
   *
   * @param {string} client
   * @returns {() => void}
   */
  enter(client) {
    const held = this.#clients.get(client) ?? 0;
    if (this.inside >= this.#places)
      throw new HttpError(503, "ERR_BUSY", "too many edits are waiting", this.#secondsUntilAPlace());
    if (held >= this.#placesPerClient)
      throw new HttpError(
        429,
        "ERR_TOO_MANY_REQUESTS",
        "too many edits of this client are waiting",
        this.#secondsUntilAPlace(),
      );
    this.#entered++;
    this.#clients.set(client, held + 1);
    return () => this.#leave(client);
  }

  /** @param {string} client */
  #leave(client) {
    this.#entered--;
    const held = this.#clients.get(client) ?? 0;
    if (held > 1) this.#clients.set(client, held - 1);
    else this.#clients.delete(client);
  }

  /**
   * Runs a task when it is its turn. An abort before that removes it from the queue.
   *
   * @template T
   * @param {() => Promise<T>} task
   * @param {AbortSignal} signal
   * @returns {Promise<T>}
   */
  async run(task, signal) {
    await this.#turn(signal);
    const begun = performance.now();
    try {
      return await task();
    } finally {
      this.#meanSeconds += 0.1 * ((performance.now() - begun) / 1000 - this.#meanSeconds);
      this.#next();
    }
  }

  /** @param {AbortSignal} signal */
  async #turn(signal) {
    signal.throwIfAborted();
    if (this.#running < this.#concurrency) {
      this.#running++;
      return;
    }
    await new Promise((resolve, reject) => {
      const begin = () => {
        signal.removeEventListener("abort", giveUp);
        resolve(undefined);
      };
      const giveUp = () => {
        this.#waiting.delete(begin);
        reject(signal.reason);
      };
      this.#waiting.add(begin);
      signal.addEventListener("abort", giveUp, { once: true });
    });
  }

  /** Passes the turn to the next task, or frees it. */
  #next() {
    const [first] = this.#waiting;
    if (!first) {
      this.#running--;
      return;
    }
    this.#waiting.delete(first);
    first();
  }

  #secondsUntilAPlace() {
    const seconds = (this.#meanSeconds * (1 + this.waiting)) / this.#concurrency;
    return Math.min(600, Math.max(1, Math.ceil(seconds)));
  }
}

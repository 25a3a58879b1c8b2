import { HttpError } from "./errors.js";

/**
 * Bounds what a server takes on. A request enters before its body is read, if there is a place, and leaves when its
 * answer is sent or its client has gone. Inside, tasks run first in, first out, a few at a time.
 */
export class BoundedQueue {
  #places;
  #concurrency;
  #inside = 0;
  #running = 0;
  /** @type {Set<() => void>} in the order of their arrival */
  #waiting = new Set();
  #meanSeconds = 1;

  /** @param {{ places: number, concurrency: number }} bounds */
  constructor({ places, concurrency }) {
    this.#places = places;
    this.#concurrency = concurrency;
  }

  get inside() {
    return this.#inside;
  }

  get running() {
    return this.#running;
  }

  get waiting() {
    return this.#waiting.size;
  }

  /** Takes a place until `leave` is called. Throws a 503 with a time to try again when there is none. */
  enter() {
    if (this.#inside >= this.#places)
      throw new HttpError(503, "ERR_BUSY", "too many edits are waiting", this.#secondsUntilAPlace());
    this.#inside++;
  }

  leave() {
    this.#inside--;
  }

  /**
   * Runs a task when it is its turn. A signal that fires before takes it out of the queue.
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

  /** Hands the turn on, or gives it back. */
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

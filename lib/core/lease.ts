import { InstructPix2PixError } from "./errors.js";

/**
 * Reference-counted disposal: the resource is freed when the last holder releases it after `dispose()`.
 */
export class Lease {
  readonly #what: string;
  readonly #free: () => void;
  #holders = 0;
  #disposed = false;

  /** @param what names the owner in errors, e.g. "the pipeline" */
  constructor(what: string, free: () => void) {
    this.#what = what;
    this.#free = free;
  }

  get disposed(): boolean {
    return this.#disposed;
  }

  /**
   * Keeps the resource alive until the holder is disposed.
   *
   * @throws `ERR_DISPOSED` after `dispose()`
   */
  hold(): Disposable {
    if (this.#disposed) throw new InstructPix2PixError("ERR_DISPOSED", `${this.#what} was disposed`);
    this.#holders++;
    return { [Symbol.dispose]: () => this.#release() };
  }

  /** Frees it at once, or when the last holder releases it. Calling it again does nothing. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    if (this.#holders === 0) this.#free();
  }

  #release(): void {
    this.#holders--;
    if (this.#holders === 0 && this.#disposed) this.#free();
  }
}

import { InstructPix2PixError } from "../core/errors.js";

/**
 * Keeps changes of a model's weights and runs apart: weights change between runs only, and work that is asked for during
 * a change waits for it.
 */
export class WeightGuard {
  #runs = 0;
  #change: Promise<unknown> | undefined;
  #version = 0;
  /** Adapters that are added to the weights but are no part of them: what is saved must not contain them. */
  unfused: readonly string[] = [];

  /** Grows with every change; what was computed with an older version must not be reused. */
  get version(): number {
    return this.#version;
  }

  get changing(): boolean {
    return this.#change !== undefined;
  }

  /** Resolves when no change is in progress. */
  async settled(): Promise<void> {
    while (this.#change) await this.#change;
  }

  /** Marks a run, from its start to its end. */
  run(): Disposable {
    this.#runs++;
    let ended = false;
    return {
      [Symbol.dispose]: () => {
        if (!ended) this.#runs--;
        ended = true;
      },
    };
  }

  /**
   * Changes weights of several models, with no run between the first and the last change.
   *
   * @throws `ERR_IN_USE` during a run
   */
  static async change<T>(guards: readonly WeightGuard[], work: () => Promise<T>): Promise<T> {
    await Promise.all(guards.map((guard) => guard.settled()));
    if (guards.some((guard) => guard.#runs > 0))
      throw new InstructPix2PixError(
        "ERR_IN_USE",
        "the adapters cannot change during a run: wait until it has ended, or load another pipeline",
      );
    let end!: () => void;
    const ended = new Promise<void>((resolve) => {
      end = resolve;
    });
    for (const guard of guards) {
      guard.#change = ended;
      guard.#version++;
    }
    try {
      return await work();
    } finally {
      for (const guard of guards) guard.#change = undefined;
      end();
    }
  }
}

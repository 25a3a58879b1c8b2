import { warnOnce } from "../core/warn.js";
import type { StepRecord, TrainEvent } from "./events.js";
import { messageOf } from "./outcome.js";

type OnStep = (record: StepRecord) => unknown;
type OnEvent = (event: TrainEvent) => unknown;

/**
 * The caller's callbacks. An error thrown by a callback, or its rejection, ends the run, but only at a point where no
 * work is lost: where {@link throwIfFailed} is called.
 */
export class Callbacks {
  readonly #onStep: OnStep | undefined;
  readonly #onEvent: OnEvent;
  /** In an object, since any value can be thrown, including `undefined`. */
  #failure: { error: unknown } | undefined;
  #ended = false;

  constructor(onStep: OnStep | undefined, onEvent: OnEvent) {
    this.#onStep = onStep;
    this.#onEvent = onEvent;
  }

  /** Reports an event; an error of the callback is kept for {@link throwIfFailed}. */
  event(event: TrainEvent): void {
    try {
      // The callback may be async. It is not awaited, but its rejection must not end the process.
      Promise.resolve(this.#onEvent(event)).catch((error) => this.#fail(error));
    } catch (error) {
      this.#fail(error);
    }
  }

  /** Reports an event before training: an error of the callback ends the run at once. */
  tell(event: TrainEvent): void {
    this.event(event);
    this.throwIfFailed();
  }

  /** Reports a step and awaits the callback. */
  async step(record: StepRecord): Promise<void> {
    try {
      await this.#onStep?.(record);
    } catch (error) {
      this.#fail(error);
    }
    this.throwIfFailed();
  }

  /** Rethrows the first error of a callback, unchanged. */
  throwIfFailed(): void {
    if (this.#failure) throw this.#failure.error;
  }

  /** The run is over: later failures only cause warnings. */
  end(): void {
    this.#ended = true;
  }

  #fail(error: unknown): void {
    if (this.#ended) warnOnce(`onEvent failed after the run: ${messageOf(error)}`);
    else this.#failure ??= { error };
  }
}

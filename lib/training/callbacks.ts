import { warnOnce } from "../warn.js";
import type { StepRecord, TrainEvent } from "./events.js";
import { messageOf } from "./outcome.js";

type OnStep = (record: StepRecord) => unknown;
type OnEvent = (event: TrainEvent) => unknown;

/**
 * The caller's functions. Callers may throw from them to stop a run, so what one throws, or rejects with, ends it; but only
 * where nothing is lost by it, which is where {@link throwIfFailed} is called.
 */
export class Callbacks {
  readonly #onStep: OnStep | undefined;
  readonly #onEvent: OnEvent;
  /** In an object, for anything can be thrown, `undefined` as well. */
  #failure: { error: unknown } | undefined;
  #ended = false;

  constructor(onStep: OnStep | undefined, onEvent: OnEvent) {
    this.#onStep = onStep;
    this.#onEvent = onEvent;
  }

  /** Tells of an event; what the callback throws waits for {@link throwIfFailed}. */
  event(event: TrainEvent): void {
    try {
      // An async function is taken as well. Nobody waits for it, but its failure must not end the process.
      Promise.resolve(this.#onEvent(event)).catch((error) => this.#fail(error));
    } catch (error) {
      this.#fail(error);
    }
  }

  /** Tells of an event where there is nothing to lose yet: what the callback throws ends the run at once. */
  tell(event: TrainEvent): void {
    this.event(event);
    this.throwIfFailed();
  }

  /** Tells of a step, and waits for the callback. */
  async step(record: StepRecord): Promise<void> {
    try {
      await this.#onStep?.(record);
    } catch (error) {
      this.#fail(error);
    }
    this.throwIfFailed();
  }

  /** Throws what a callback threw first, as it is. */
  throwIfFailed(): void {
    if (this.#failure) throw this.#failure.error;
  }

  /** The run is over: a failure that comes later can only be told. */
  end(): void {
    this.#ended = true;
  }

  #fail(error: unknown): void {
    if (this.#ended) warnOnce(`onEvent failed after the run: ${messageOf(error)}`);
    else this.#failure ??= { error };
  }
}

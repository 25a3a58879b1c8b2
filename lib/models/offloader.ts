import { Semaphore } from "../core/semaphore.js";
import { native } from "../runtime/native.js";

/** A model that an offloader can move. */
export interface Movable {
  to(device: string): Promise<unknown>;
}

/**
 * Keeps models in host memory and moves the one that is about to compute to a device, replacing the previous one: the
 * device holds the weights of one model at a time.
 */
export class ModelOffloader {
  /** The device that the models compute on. */
  readonly device: string;
  readonly #turns = new Semaphore(1);
  #present: Movable | undefined;

  constructor(device: string) {
    this.device = device;
  }

  /** Runs `work` with the model on the device. Calls for other models wait. The model stays there until another one is needed, or until release. */
  use<T>(model: Movable, work: () => Promise<T>): Promise<T> {
    return this.#turns.run(async () => {
      if (this.#present !== model) {
        await this.#sendBack();
        // Recorded first, so that it is moved back even if the move fails.
        this.#present = model;
        await model.to(this.device);
      }
      return await work();
    });
  }

  /** Moves the model on the device back. */
  release(): Promise<void> {
    return this.#turns.run(() => this.#sendBack());
  }

  async #sendBack(): Promise<void> {
    const model = this.#present;
    if (model === undefined) return;
    this.#present = undefined;
    await model.to("cpu");
    // Frees cached blocks, which the next model's weights may not fit into.
    if (this.device !== "cpu") await native().emptyCache(this.device);
  }
}

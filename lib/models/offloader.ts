import { native } from "../native/native.js";
import { Semaphore } from "../semaphore.js";

/** What an offloader moves: a model. */
export interface Movable {
  to(device: string): Promise<unknown>;
}

/**
 * Keeps models in host memory and brings the one that is about to compute to a device, in the place of the one before: the
 * device holds the weights of one at a time.
 */
export class ModelOffloader {
  /** Where the models compute. */
  readonly device: string;
  readonly #turns = new Semaphore(1);
  #present: Movable | undefined;

  constructor(device: string) {
    this.device = device;
  }

  /** Runs `work` with the model on the device. Whoever wants another one waits; it stays until then, or until release. */
  use<T>(model: Movable, work: () => Promise<T>): Promise<T> {
    return this.#turns.run(async () => {
      if (this.#present !== model) {
        await this.#sendBack();
        // Remembered first, so that it is sent back whatever becomes of the move.
        this.#present = model;
        await model.to(this.device);
      }
      return await work();
    });
  }

  /** Sends the model that is on the device back. */
  release(): Promise<void> {
    return this.#turns.run(() => this.#sendBack());
  }

  async #sendBack(): Promise<void> {
    const model = this.#present;
    if (model === undefined) return;
    this.#present = undefined;
    await model.to("cpu");
    // What the next model's weights do not fit into is of no use to it.
    if (this.device !== "cpu") await native().emptyCache(this.device);
  }
}

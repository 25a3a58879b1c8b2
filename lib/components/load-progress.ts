/** How far the loading of a pipeline's models is, once their files are there. */
export interface LoadProgress {
  stage: "load";
  /** The part of the weights that is loaded, 0..1. */
  fraction: number;
}

/**
 * Reports the loading of models.
 *
 * @param bytes of each model's weights
 */
export class LoadReport {
  readonly #listener: ((progress: LoadProgress) => void) | undefined;
  readonly #total: number;
  #done = 0;

  constructor(bytes: readonly number[], listener: ((progress: LoadProgress) => void) | undefined) {
    this.#listener = listener;
    this.#total = bytes.reduce((sum, each) => sum + each, 0);
    this.#tell();
  }

  /** A model with this many bytes of weights is loaded. */
  loaded(bytes: number): void {
    this.#done += bytes;
    this.#tell();
  }

  #tell(): void {
    this.#listener?.({ stage: "load", fraction: this.#total === 0 ? 1 : this.#done / this.#total });
  }
}

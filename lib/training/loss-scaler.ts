/** State of a loss scaler, as checkpoints hold it. */
export interface LossScalerState {
  scale: number;
  growthTracker: number;
}

const INITIAL_SCALE = 65536;
const GROWTH_FACTOR = 2;
const BACKOFF_FACTOR = 0.5;
const GROWTH_INTERVAL = 2000;
/** The smallest positive float16: with a smaller scale, every scaled loss below 1 is zero. */
const SMALLEST_SCALE = 2 ** -24;

/**
 * Dynamic loss scaling for float16 (Micikevicius et al. 2018, "Mixed Precision Training"): the loss is multiplied so that
 * small gradients do not vanish; overflow halves the factor, 2000 steps without overflow double it. As torch's
 * `GradScaler`.
 */
export class LossScaler {
  #scale: number;
  #growthTracker: number;

  constructor(state: LossScalerState = { scale: INITIAL_SCALE, growthTracker: 0 }) {
    this.#scale = state.scale;
    this.#growthTracker = state.growthTracker;
  }

  get scale(): number {
    return this.#scale;
  }

  /** Whether overflow has halved the scale so often that the scale cannot be the cause. */
  get isExhausted(): boolean {
    return this.#scale < SMALLEST_SCALE;
  }

  /** @param overflow whether the last step was skipped because its gradients were not finite */
  update(overflow: boolean): void {
    if (overflow) {
      this.#scale *= BACKOFF_FACTOR;
      this.#growthTracker = 0;
      return;
    }
    this.#growthTracker += 1;
    if (this.#growthTracker < GROWTH_INTERVAL) return;
    this.#scale *= GROWTH_FACTOR;
    this.#growthTracker = 0;
  }

  toJSON(): LossScalerState {
    return { scale: this.#scale, growthTracker: this.#growthTracker };
  }
}

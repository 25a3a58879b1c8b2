import { Tensor } from "../core/tensor.js";
import type { NativeProcessGroup, NativeTrainer, NativeTrainerOptions } from "../runtime/contract/index.js";
import { native } from "../runtime/native.js";

const BFLOAT16_DEFAULTS = { bfloat16Weights: false, weightsRounding: "stochastic", roundingSeed: 0 } as const;

type WithDefault = keyof typeof BFLOAT16_DEFAULTS;

/** Those of the addon; `bfloat16Weights` defaults to false, `weightsRounding` to "stochastic", `roundingSeed` to 0. */
export type TrainerOptions = Omit<NativeTrainerOptions, WithDefault> & Partial<Pick<NativeTrainerOptions, WithDefault>>;

/** Fills in the defaults. */
export function nativeOptions(options: TrainerOptions): NativeTrainerOptions {
  return { ...BFLOAT16_DEFAULTS, ...options };
}

export interface StepReport {
  /** 2-norm of all gradients together, before clipping and without the loss scale. */
  gradNorm: number;
  /** The norm was not finite: neither weights nor moments were touched. */
  skipped: boolean;
}

/** The base of all trainers: models trained in place by AdamW, their EMA weights, and the optimizer's state. */
export abstract class ParameterTrainer {
  protected readonly handle: NativeTrainer;

  protected constructor(handle: NativeTrainer) {
    this.handle = handle;
  }

  /**
   * Divides the gradients by `lossScale`, clips their norm to `maxGradNorm`, updates the weights (AdamW) and clears the
   * gradients. With `emaDecay` it includes {@link updateEma}, in a fused pass; the EMA weights are updated even if the step
   * is skipped.
   */
  step(learningRate: number, maxGradNorm: number, lossScale = 1, emaDecay?: number): Promise<StepReport> {
    return native().trainerStep(this.handle, learningRate, maxGradNorm, lossScale, emaDecay ?? null);
  }

  /**
   * From now on this is one of several processes that train together: weights and EMA weights become rank 0's, and a
   * micro-step can reduce. All processes call it.
   */
  distribute(group: NativeProcessGroup): Promise<void> {
    return native().trainerDistribute(this.handle, group);
  }

  /** Averages the gradients over all processes, in place of a last micro-step that has no data. */
  reduce(): Promise<void> {
    return native().trainerReduce(this.handle);
  }

  /** EMA ← EMA − (1 − decay) · (EMA − weights) */
  updateEma(decay: number): Promise<void> {
    return native().trainerUpdateEma(this.handle, decay);
  }

  /** Runs `body` with the EMA weights in the model. */
  async withEma<T>(body: () => Promise<T>): Promise<T> {
    await native().trainerSwapEma(this.handle);
    try {
      return await body();
    } finally {
      await native().trainerSwapEma(this.handle);
    }
  }

  /** Clears the gradients accumulated by {@link accumulate}. */
  forgetGradients(): Promise<void> {
    return native().trainerForgetGradients(this.handle);
  }

  /** Moments and step count by name: the tensors themselves, which change with every step. */
  optimizerState(): Promise<Record<string, Tensor>> {
    return this.#state("optimizer");
  }

  /** The EMA weights by parameter name: the tensors themselves. */
  emaState(): Promise<Record<string, Tensor>> {
    return this.#state("ema");
  }

  /** The gradients accumulated so far, by parameter name. */
  gradients(): Promise<Record<string, Tensor>> {
    return this.#state("gradients");
  }

  /** Frees moments and EMA weights; the model stays. */
  dispose(): void {
    this.handle.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  async #state(which: "optimizer" | "ema" | "gradients"): Promise<Record<string, Tensor>> {
    const result: Record<string, Tensor> = Object.create(null);
    for (const [name, handle] of Object.entries(await native().trainerState(this.handle, which)))
      result[name] = new Tensor(handle);
    return result;
  }
}

import { Tensor } from "../core/tensor.js";
import type {
  NativeProcessGroup,
  NativeTrainer,
  NativeTrainerOptions,
  NativeTrainerState,
} from "../runtime/contract/index.js";
import { cancellable, native } from "../runtime/native.js";

const DEFAULTS = {
  optimizer: "adamw",
  bfloat16Weights: false,
  weightsRounding: "stochastic",
  roundingSeed: 0,
  dropoutSeed: 0,
  releaseGradients: false,
  offloadEma: false,
  traces: 0,
  shardRank: 0,
  shardCount: 1,
} as const;

type WithDefault = keyof typeof DEFAULTS;

/**
 * Those of the addon; `bfloat16Weights` defaults to false, `weightsRounding` to "stochastic", the seeds to 0, the
 * optimizer's state is not shared, gradients are kept until the step, EMA weights are where the model is, and there are no traces.
 */
export type TrainerOptions = Omit<NativeTrainerOptions, WithDefault> & Partial<Pick<NativeTrainerOptions, WithDefault>>;

/** Fills in the defaults. */
export function nativeOptions(options: TrainerOptions): NativeTrainerOptions {
  return { ...DEFAULTS, ...options };
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
   * is skipped. Where processes share the optimizer's state, all of them call it, and exchange the weights.
   */
  step(
    learningRate: number,
    maxGradNorm: number,
    lossScale = 1,
    emaDecay?: number,
    signal?: AbortSignal,
  ): Promise<StepReport> {
    return cancellable(signal, (token) =>
      native().trainerStep(this.handle, learningRate, maxGradNorm, lossScale, emaDecay ?? null, token),
    );
  }

  /**
   * From now on this is one of several processes that train together: weights and EMA weights become rank 0's, and a
   * micro-step can reduce. All processes call it.
   *
   * @param exchangedAs the type in which float32 gradients are summed; by default their own
   */
  distribute(group: NativeProcessGroup, exchangedAs?: "bfloat16"): Promise<void> {
    return native().trainerDistribute(this.handle, group, exchangedAs ?? null);
  }

  /** Takes the EMA weights that other processes hold, so that {@link withEma} has all. */
  borrowEma(averages: Record<string, Tensor>): Promise<void> {
    const handles = Object.entries(averages).map(([name, { handle }]) => [name, handle] as const);
    return native().trainerBorrowEma(this.handle, Object.fromEntries(handles));
  }

  giveEmaBack(): Promise<void> {
    return native().trainerBorrowEma(this.handle, null);
  }

  /** Averages the gradients over all processes, in place of a last micro-step that has no data. */
  reduce(): Promise<void> {
    return native().trainerReduce(this.handle);
  }

  /** EMA ← EMA − (1 − decay) · (EMA − weights) */
  updateEma(decay: number): Promise<void> {
    return native().trainerUpdateEma(this.handle, decay);
  }

  /** trace ← trace + (1 − decay) · (weights − trace), with one decay for each of the trainer's traces. */
  updateTraces(decays: readonly number[]): Promise<void> {
    return native().trainerUpdateTraces(this.handle, decays);
  }

  /** The traces by "<number>.<parameter name>": the tensors themselves. */
  tracesState(): Promise<Record<string, Tensor>> {
    return this.#state("traces");
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

  /** What is trained, by parameter name: the tensors themselves. */
  weights(): Promise<Record<string, Tensor>> {
    return this.#state("weights");
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

  async #state(which: NativeTrainerState): Promise<Record<string, Tensor>> {
    const result: Record<string, Tensor> = Object.create(null);
    for (const [name, handle] of Object.entries(await native().trainerState(this.handle, which)))
      result[name] = new Tensor(handle);
    return result;
  }
}

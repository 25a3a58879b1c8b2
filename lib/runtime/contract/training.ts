import type { NativeConditions } from "./conditions.js";
import type { NativeProcessGroup } from "./distributed.js";
import type { NativeModel } from "./models.js";
import type { NativeGenerator } from "./random.js";
import type { NativeCancelToken } from "./system.js";
import type { NativeTensor } from "./tensor.js";

/** bindings/training.cc */
export interface TrainingAddon {
  createTrainer(
    unet: NativeModel,
    textEncoders: readonly NativeModel[],
    options: NativeTrainerOptions,
  ): Promise<NativeTrainer>;
  /** Freezes the model, and gives layers factors that are trained; draws from the generator in the order of the model. */
  addTrainableAdapter(model: NativeModel, adapter: NativeNewAdapter, generator: NativeGenerator | null): Promise<void>;
  createAutoencoderTrainer(vae: NativeModel, options: NativeTrainerOptions): Promise<NativeTrainer>;
  /**
   * Resolves to the loss: one element, not multiplied by `factor`. The conditions hold `inputIds` if text encoders are
   * trained and `embeddings` if not, and neither a cache nor `sampleRows`. With `reduces` the gradients are afterwards the
   * averages of all processes.
   */
  trainerMicroStep(
    trainer: NativeTrainer,
    sample: NativeTensor,
    timesteps: NativeTensor,
    conditions: NativeConditions,
    target: NativeTensor,
    loss: NativeLoss,
    factor: number,
    reduces: boolean,
    update: NativeReleasedStep | null,
    cancel: NativeCancelToken | null,
  ): Promise<NativeTensor>;
  /** Resolves to the loss: one element, not multiplied by `factor`. */
  trainerAutoencoderStep(
    trainer: NativeTrainer,
    x: NativeTensor,
    noise: NativeTensor,
    klWeight: number,
    factor: number,
    cancel: NativeCancelToken | null,
  ): Promise<NativeTensor>;
  trainerStep(
    trainer: NativeTrainer,
    learningRate: number,
    maxGradNorm: number,
    lossScale: number,
    emaDecay: number | null,
    cancel: NativeCancelToken | null,
  ): Promise<{ gradNorm: number; skipped: boolean }>;
  /**
   * From now on one of several processes: weights and EMA weights become rank 0's, and micro-steps can reduce: float32
   * gradients in type `dtype`, if one is given.
   */
  trainerDistribute(trainer: NativeTrainer, group: NativeProcessGroup, dtype: "bfloat16" | null): Promise<void>;
  /** Takes the averages that other processes hold, for {@link trainerSwapEma}; with null gives them back. */
  trainerBorrowEma(trainer: NativeTrainer, averages: Record<string, NativeTensor> | null): Promise<void>;
  /** In place of a last micro-step that has no data. */
  trainerReduce(trainer: NativeTrainer): Promise<void>;
  trainerUpdateEma(trainer: NativeTrainer, decay: number): Promise<void>;
  /** trace ← trace + (1 − decay) · (weight − trace), with one decay for each trace. */
  trainerUpdateTraces(trainer: NativeTrainer, decays: readonly number[]): Promise<void>;
  trainerSwapEma(trainer: NativeTrainer): Promise<void>;
  trainerForgetGradients(trainer: NativeTrainer): Promise<void>;
  trainerState(trainer: NativeTrainer, which: NativeTrainerState): Promise<Record<string, NativeTensor>>;
  copyTensors(targets: readonly NativeTensor[], sources: readonly NativeTensor[]): Promise<void>;
  selectRows(flags: readonly number[], a: NativeTensor, b: NativeTensor): Promise<NativeTensor>;
}

export type NativeTrainerState = "optimizer" | "ema" | "traces" | "gradients" | "weights";

export interface NativeNewAdapter {
  name: string;
  /** Layers with a matrix or a kernel. */
  layers: readonly string[];
  rank: number;
  alpha: number;
  /** Probability of dropping each element of a layer's input. */
  dropout: number;
  /** Parameters that are trained in full beside it. */
  inFull: readonly string[];
  /** Also makes the draws that peft makes before it overwrites the values. */
  likePeft: boolean;
}

/** What is minimised of the difference of prediction and target. */
export interface NativeLoss {
  kind: "l2" | "huber" | "smooth_l1";
  /** δ of each row: float32 [B]; null with "l2". */
  deltas: NativeTensor | null;
  /** What the loss of each row counts: float32 [B]; null: all the same. */
  weights: NativeTensor | null;
}

/** How a micro-step updates the parameters. */
export interface NativeReleasedStep {
  learningRate: number;
  /** Of each parameter's gradient. */
  maxGradNorm: number;
  emaDecay: number | null;
}

export interface NativeTrainer {
  dispose(): void;
}

export interface NativeTrainerOptions {
  adamBeta1: number;
  adamBeta2: number;
  adamEpsilon: number;
  adamWeightDecay: number;
  optimizer: "adamw" | "adamw_8bit" | "lion_8bit" | "prodigy";
  useEma: boolean;
  /** Keeps EMA weights and traces in the host's memory. */
  offloadEma: boolean;
  /** Further moving averages in float32, by {@link TrainingAddon.trainerUpdateTraces}: 0 to 8. */
  traces: number;
  /** Of several processes that share the optimizer's state (ZeRO-1), this one; `shardCount` is 1 where it is whole. */
  shardRank: number;
  shardCount: number;
  gradientCheckpointing: boolean;
  /** Every micro-step updates the parameters, each as soon as its gradient is there. */
  releaseGradients: boolean;
  /** Keeps shadow weights in the type of mixed precision: identical results, faster, for two bytes per weight. */
  shadowWeights: boolean;
  /** Keeps the weights of linear and convolutional layers in bfloat16; all others stay float32. */
  bfloat16Weights: boolean;
  /** How updates are rounded into bfloat16 weights. */
  weightsRounding: "stochastic" | "compensated";
  /** Seed of stochastic rounding: an integer from 0 to 2⁵³ − 1. */
  roundingSeed: number;
  mixedPrecision: "bfloat16" | "float16" | null;
  /** Seed of the masks of adapters' dropout: an integer from 0 to 2⁵³ − 1. */
  dropoutSeed: number;
}

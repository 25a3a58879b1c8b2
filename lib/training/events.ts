/** The record of an optimizer step in metrics.jsonl, `onStep` and the async iterator. */
export interface StepRecord {
  /** Optimizer steps done, from 1. */
  step: number;
  /** Mean of the micro-steps' losses. */
  trainLoss: number;
  /** The learning rate of this step. */
  lr: number;
  /** 2-norm of the gradients before clipping; not finite if the step was skipped. */
  gradNorm: number;
  /** Wall-clock time of the step, including the wait for data. */
  seconds: number;
  /** The part of it that was spent waiting for data. */
  dataSeconds: number;
  samplesPerSecond: number;
  /** Largest resident memory of the process so far. */
  peakMemoryBytes: number;
  /** Peak memory of tensors on the CUDA device so far; absent on the CPU. */
  peakDeviceMemoryBytes?: number;
  epoch: number;
  /** The step was skipped because float16 gradients overflowed. */
  skipped: boolean;
}

/** Events of a run besides its steps. */
export type TrainEvent =
  | { type: "loading"; what: string }
  | { type: "started"; totalSteps: number; step: number; epochs: number; rows: number; seed: bigint; device: string }
  | { type: "resumed"; checkpoint: string; step: number }
  /** The data set is fetched (bytes), parquet rows are made readable one by one (rows), or images' sizes are read (rows). */
  | { type: "preparing"; stage: "download" | "unpack" | "sizes"; done: number; total: number }
  | { type: "caching"; done: number; total: number }
  /** With `check`: rows that have been read. */
  | { type: "checking"; done: number; total: number }
  | { type: "checkpoint"; path: string; step: number; seconds: number }
  | { type: "validation"; step: number; files: string[] }
  | { type: "warning"; message: string }
  | { type: "saved"; path: string }
  | { type: "publishing"; repository: string; file: string; doneBytes: number; totalBytes: number }
  | { type: "published"; repository: string; commit: string; url: string };

/** What a finished training run gives. */
export interface TrainResult {
  outputDir: string;
  /** Optimizer steps done, those of a resumed run included. With `check` those done before. */
  step: number;
  /** Mean loss of the last step. */
  trainLoss: number | undefined;
  seed: bigint;
  /** Unusable rows of the data set that were skipped. */
  skippedRows: number;
  /** Whether `stop()` ended it before its last step. */
  stopped: boolean;
}

import type { EpochOrder, EpochOrderState, OrderedBatch } from "../data/permutation.js";
import type { BatchEncoder } from "./encoder.js";
import { disposeEncoded } from "./encoder.js";
import type { Flips } from "./flips.js";
import type { EncodedBatch } from "./micro_batch.js";

/** One batch as the loop takes it. */
export interface TrainingBatch {
  /** Rows of the data set that it was made of. */
  readonly rows: readonly number[];
  /** Whether the epoch ends with it. */
  readonly last: boolean;
  /** Where the data go on after it. */
  readonly next: EpochOrderState;
  /** How long the loop waited for its data. */
  readonly waitSeconds: number;
  /** Latents and text embeddings; undefined if not one row could be used. */
  encode(signal?: AbortSignal): Promise<EncodedBatch | undefined>;
  /** To be called with what `encode` gave. */
  release(encoded: EncodedBatch): void;
}

/** The data set in the order of training. */
export interface EncodedData {
  /** What is left of the running epoch. */
  epoch(signal?: AbortSignal): AsyncIterable<TrainingBatch>;
  /** Rows that could not be used so far. */
  readonly skippedRows: number;
}

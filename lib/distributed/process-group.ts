import type { NativeProcessGroup } from "../runtime/contract/index.js";

/** What a process brings to an agreement. */
export interface Standing {
  /** Whether it was asked to end after the next step. */
  readonly stops: boolean;
  /** Whether it has samples for the next step. */
  readonly hasSamples: boolean;
}

/**
 * The processes that train together, of which this is one. All of them call the same methods in the same order, up to
 * {@link fail}. A method that waits for others rejects with the error of the process that failed.
 */
export interface ProcessGroup {
  /** This process, from 0. */
  readonly rank: number;
  readonly size: number;
  /** This process among those of its host, from 0. */
  readonly localRank: number;
  /** Whether this is rank 0, which writes everything. */
  readonly isMain: boolean;
  /** For reducing gradients; null if this process trains alone. */
  readonly native: NativeProcessGroup | null;
  /** Fires when an exchange of tensors cannot be completed any more. Its reason is the error. */
  readonly signal: AbortSignal | undefined;
  /** Whether all processes can still be reached, so that what they hold can be saved. */
  readonly isWhole: boolean;

  /**
   * Waits for all processes, however long they take as long as they live.
   *
   * @returns whether any of them stops or has samples
   */
  agree(mine: Standing): Promise<Standing>;
  /** Rank 0's value, which only rank 0 computes and which JSON can hold. */
  share<T>(value: () => Promise<T>): Promise<T>;
  /** All processes' texts in the order of their ranks, at rank 0; undefined at the others. */
  gather(name: string, text: string, timeoutMs?: number): Promise<string[] | undefined>;
  /** The sums of numbers over all processes. */
  sum(values: readonly number[]): Promise<number[]>;
  /**
   * Runs work that exchanges tensors with the others or that is in vain without them, and that {@link signal} ends.
   *
   * @throws the error of the process that failed, instead of what the exchange says
   */
  exchange<T>(work: () => Promise<T>): Promise<T>;
  /** The step that is being made, for messages. */
  reached(step: number): void;
  /** Tells the others that this process has failed and takes part in nothing more, save {@link gather}. */
  fail(error: unknown): Promise<void>;
  /** Leaves; rank 0, which may serve the store, last. */
  close(): Promise<void>;
}

/** A process that trains alone. */
export const alone: ProcessGroup = {
  rank: 0,
  size: 1,
  localRank: 0,
  isMain: true,
  native: null,
  signal: undefined,
  isWhole: true,
  agree: async (mine) => mine,
  share: (value) => value(),
  gather: async (_, text) => [text],
  sum: async (values) => [...values],
  exchange: (work) => work(),
  reached: () => {},
  fail: async () => {},
  close: async () => {},
};

import { createHash } from "node:crypto";
import type { Generator } from "../core/generator.js";
import { Tensor } from "../core/tensor.js";

/** Decides which pairs of a batch are flipped. */
export interface Flips {
  /** Called when an epoch begins, before its first batch. */
  beginEpoch(batches: number): Promise<void>;
  /** One flag for each row of batch `index` of the epoch; called once for each batch, in order. */
  of(batch: { epoch: number; index: number; rows: readonly number[] }): Promise<boolean[]>;
}

/** No flips and no draws. */
export const noFlips: Flips = {
  beginEpoch: async () => {},
  of: async ({ rows }) => rows.map(() => false),
};

/**
 * A flip per pair and epoch that depends only on the run's seed, the epoch and the row, so that a run resumes without
 * replaying draws.
 */
export function flipsBySeed(seed: bigint): Flips {
  const isFlipped = (epoch: number, row: number) =>
    (createHash("sha256").update(`flip of row ${row} in epoch ${epoch}, seed ${seed}`).digest()[0]! & 1) === 1;
  return {
    beginEpoch: async () => {},
    of: async ({ epoch, rows }) => rows.map((row) => isFlipped(epoch, row)),
  };
}

/**
 * One flip per batch, drawn when the reference's data loader fetches it: one batch ahead of training.
 */
export function flipsLikeReference(generator: Generator): Flips {
  let drawn: boolean[] = [];
  let batches = 0;
  const draw = async () => {
    using uniform = await Tensor.rand([1], { generator });
    drawn.push((await uniform.item()) < 0.5);
  };
  return {
    async beginEpoch(count) {
      batches = count;
      drawn = [];
      await draw();
    },
    async of({ index, rows }) {
      if (index + 1 < batches) await draw();
      return rows.map(() => drawn[index]!);
    },
  };
}

/** One batch of an epoch, of which every process takes its part. */
export interface DealtBatch {
  /** Its number in the epoch, from 0. */
  readonly index: number;
  /** Rows that have been dealt after it, each counted once. */
  readonly end: number;
  /** Its row `i`; behind its last one, the first rows of those that it was dealt from are used once more. */
  row(i: number): number;
}

/** How the rows of an epoch are divided into batches. */
export interface Deal {
  /** The batch that begins after `cursor` rows have been dealt; undefined if none begins there. */
  at(cursor: number): DealtBatch | undefined;
}

/** Deals a permutation in its own order, from any place on. */
export function dealInOrder(permutation: Uint32Array, dealt: number): Deal {
  const { length } = permutation;
  return {
    at: (cursor) => ({
      index: Math.floor(cursor / dealt),
      end: Math.min(cursor + dealt, length),
      row: (i) => permutation[(cursor + i) % length]!,
    }),
  };
}

/**
 * Deals batches whose rows are of one bucket. A bucket's rows stay in the permutation's order, and batches come in the
 * order of their first rows, so that those with what is left of a bucket lie anywhere in the epoch.
 *
 * @param buckets the bucket of each row
 * @param dealt rows of a batch; the last of a bucket may have fewer
 */
export function dealByBucket(permutation: Uint32Array, buckets: ArrayLike<number>, dealt: number): Deal {
  const rowsOf = new Map<number, number[]>();
  const batches: { rows: number[]; first: number }[] = [];
  for (const row of permutation) {
    const bucket = buckets[row]!;
    const rows = rowsOf.get(bucket) ?? [];
    if (rows.length === 0) rowsOf.set(bucket, rows);
    if (rows.length % dealt === 0) batches.push({ rows, first: rows.length });
    rows.push(row);
  }
  const starts = new Map<number, DealtBatch>();
  let start = 0;
  for (const [index, { rows, first }] of batches.entries()) {
    const end = start + Math.min(dealt, rows.length - first);
    starts.set(start, { index, end, row: (i) => rows[(first + i) % rows.length]! });
    start = end;
  }
  return { at: (cursor) => starts.get(cursor) };
}

/** The batches that {@link dealByBucket} makes of whatever permutation. */
export function countBatches(buckets: ArrayLike<number>, dealt: number): number {
  const rows = new Map<number, number>();
  for (let row = 0; row < buckets.length; row++) rows.set(buckets[row]!, (rows.get(buckets[row]!) ?? 0) + 1);
  return [...rows.values()].reduce((sum, count) => sum + Math.ceil(count / dealt), 0);
}

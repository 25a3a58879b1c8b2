import { expect, test } from "vitest";
import { EpochOrder, type PermutationSource } from "../../lib/data/permutation.js";
import { dealsAlike } from "../../lib/training/processes.js";

/** Every epoch in the order of the data set. */
const source: PermutationSource = {
  seedOf: async (epoch) => BigInt(epoch),
  permute: async (_, length) => Uint32Array.from({ length }, (_, i) => i),
};

interface Division {
  processes: number;
  batch: number;
  accumulation: number;
}

/** The rows of every step of two epochs, in ascending order, and how far all processes are after it. */
async function steps({ processes, batch, accumulation }: Division, length: number): Promise<string[]> {
  const ranks = Array.from(
    { length: processes },
    (_, rank) => new EpochOrder({ length, batchSize: batch, rank, worldSize: processes, source }),
  );
  const told: string[] = [];
  for (let rows: number[] = [], micro = 0; ranks[0]!.epoch < 2; ) {
    const batches = await Promise.all(ranks.map((rank) => rank.next()));
    rows.push(...batches.flatMap((each) => each.rows));
    micro += 1;
    if (micro < accumulation && !batches[0]!.last) continue;
    const { epoch, cursor } = batches[0]!.next;
    told.push(`${rows.sort((a, b) => a - b)} → ${epoch}:${cursor}`);
    [rows, micro] = [[], 0];
  }
  return told;
}

test("another number of processes is said to deal alike only where every step has the same rows", async () => {
  const divisions = [1, 2, 3, 4].flatMap((processes) =>
    [1, 2, 3, 4].flatMap((batch) => [1, 2, 4].map((accumulation) => ({ processes, batch, accumulation }))),
  );
  let alike = 0;
  for (const length of [10, 12, 7]) {
    const dealt = new Map<Division, string>();
    for (const each of divisions) dealt.set(each, JSON.stringify(await steps(each, length)));
    for (const before of divisions)
      for (const now of divisions) {
        const said = dealsAlike(before, now, length);
        if (said) expect(dealt.get(now), JSON.stringify({ before, now, length })).toBe(dealt.get(before));
        if (said && before.processes !== now.processes) alike += 1;
      }
  }
  expect(alike).toBeGreaterThan(50);
  // The tail of an epoch is filled up by several processes only.
  expect(dealsAlike({ processes: 2, batch: 2, accumulation: 1 }, { processes: 1, batch: 4, accumulation: 1 }, 10)).toBe(
    false,
  );
  expect(dealsAlike({ processes: 2, batch: 2, accumulation: 1 }, { processes: 1, batch: 4, accumulation: 1 }, 12)).toBe(
    true,
  );
});

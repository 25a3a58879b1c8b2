import { describe, expect, test } from "vitest";
import { Generator } from "../../lib/core/generator.js";
import {
  drawnPermutations,
  EpochOrder,
  type PermutationSource,
  seededPermutations,
} from "../../lib/data/permutation.js";
import { fixture, readJson } from "../helpers/fixtures.js";

interface Shards {
  length: number;
  batchSize: number;
  worldSize: number;
  shards: number[][][];
}

interface TorchPermutation {
  generatorSeed: string;
  draws: string[];
  n: number;
  p: number[];
}

/** Rows in their own order, the epoch's number as seed. */
const unshuffled: PermutationSource = {
  seedOf: async (epoch) => BigInt(epoch),
  permute: async (_seed, length) => Uint32Array.from({ length }, (_, i) => i),
};

async function epochOf(order: EpochOrder): Promise<number[][]> {
  const batches: number[][] = [];
  for await (const batch of order.restOfEpoch()) batches.push(batch.rows);
  return batches;
}

describe("the permutation of an epoch", () => {
  test("is drawn from the global generator as PyTorch's DataLoader draws it", async () => {
    for (const { generatorSeed, draws, n, p } of readJson<TorchPermutation[]>(
      fixture("data", "torch-permutations.json"),
    )) {
      const source = drawnPermutations(new Generator("cpu", BigInt(generatorSeed)));
      const seed = await source.seedOf(0);
      expect(String(seed)).toBe(draws[1]);
      expect([...(await source.permute(seed, n))]).toEqual(p);
      // The second epoch's two draws follow.
      expect(String(await source.seedOf(1))).toBe(draws[3]);
    }
  });

  test("depends only on seed and epoch in the default mode", async () => {
    const first = await epochOf(new EpochOrder({ length: 100, batchSize: 7, source: seededPermutations(3) }));
    const order = new EpochOrder({ length: 100, batchSize: 7, source: seededPermutations(3) });
    expect(await epochOf(order)).toEqual(first);
    const second = await epochOf(order);
    expect(second).not.toEqual(first);
    expect(
      await epochOf(new EpochOrder({ length: 100, batchSize: 7, source: seededPermutations(3), epoch: 1 })),
    ).toEqual(second);
    expect(await epochOf(new EpochOrder({ length: 100, batchSize: 7, source: seededPermutations(4) }))).not.toEqual(
      first,
    );
  });

  test("contains every row once, with the rest in the last batch", async () => {
    const batches = await epochOf(new EpochOrder({ length: 100, batchSize: 7, source: seededPermutations(0) }));
    expect(batches.map((rows) => rows.length)).toEqual([...Array(14).fill(7), 2]);
    expect(batches.flat().sort((a, b) => a - b)).toEqual(Array.from({ length: 100 }, (_, i) => i));
  });
});

describe("several processes", () => {
  test("get the same batches as with accelerate", async () => {
    for (const { length, batchSize, worldSize, shards } of readJson<Shards[]>(
      fixture("data", "accelerate-shards.json"),
    ))
      for (const [rank, expected] of shards.entries()) {
        const order = new EpochOrder({ length, batchSize, worldSize, rank, source: unshuffled });
        expect(order.batchesPerEpoch).toBe(expected.length);
        expect(await epochOf(order), `${length} rows, ${batchSize} a batch, rank ${rank} of ${worldSize}`).toEqual(
          expected,
        );
      }
  });
});

describe("resuming", () => {
  test("gives the batches of the uninterrupted run, from any batch on", async () => {
    const options = { length: 23, batchSize: 4, source: seededPermutations(9) };
    const uninterrupted: { rows: number[]; state: string }[] = [];
    const order = new EpochOrder(options);
    for (let i = 0; i < 20; i++) {
      const { rows, next } = await order.next();
      uninterrupted.push({ rows, state: JSON.stringify(next) });
    }
    for (const [i, { state }] of uninterrupted.slice(0, -5).entries()) {
      const resumed = EpochOrder.fromJSON(JSON.parse(state), options);
      for (let k = 1; k <= 5; k++) expect((await resumed.next()).rows).toEqual(uninterrupted[i + k]!.rows);
    }
  });

  test("draws nothing for the current epoch, and continues with the next", async () => {
    const generator = new Generator("cpu", 5);
    const options = { length: 10, batchSize: 3, source: drawnPermutations(generator) };
    const order = new EpochOrder(options);
    await order.next();
    const { next } = await order.next();
    const state = await generator.getState();
    const expected = [...(await epochOf(order)), ...(await epochOf(order))];

    const later = new Generator("cpu", 0);
    await later.setState(state);
    const resumed = EpochOrder.fromJSON(structuredClone(next), { ...options, source: drawnPermutations(later) });
    expect([...(await epochOf(resumed)), ...(await epochOf(resumed))]).toEqual(expected);
  });

  test("leaves out and repeats no row when batch size and processes change in mid-epoch", async () => {
    const source = seededPermutations(1);
    const order = new EpochOrder({ length: 50, batchSize: 4, source });
    const before: number[] = [];
    for (let i = 0; i < 5; i++) before.push(...(await order.next()).rows);
    const ranks = [0, 1].map((rank) =>
      EpochOrder.fromJSON(order.toJSON(), { length: 50, batchSize: 5, source, rank, worldSize: 2 }),
    );
    const after = (await Promise.all(ranks.map(epochOf))).flat(2);
    expect([...before, ...after].sort((a, b) => a - b)).toEqual(Array.from({ length: 50 }, (_, i) => i));
  });

  test("a state that is incomplete or of other data is refused", () => {
    const options = { length: 10, batchSize: 3, source: unshuffled };
    const good = { epoch: 1, cursor: 3, permutationSeed: "77", length: 10 };
    expect(EpochOrder.fromJSON(good, options).toJSON()).toEqual(good);
    const broken = [
      undefined,
      null,
      {},
      { ...good, length: 11 },
      { ...good, epoch: undefined },
      { ...good, epoch: -1 },
      { ...good, cursor: 10 },
      { ...good, cursor: 0.5 },
      { ...good, permutationSeed: null },
      { ...good, permutationSeed: undefined },
      { ...good, permutationSeed: "0x12" },
    ];
    for (const state of broken)
      expect(() => EpochOrder.fromJSON(state, options), JSON.stringify(state)).toThrow(
        expect.objectContaining({ code: "ERR_CHECKPOINT" }),
      );
  });
});

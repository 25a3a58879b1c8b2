import sharp from "sharp";
import { describe, expect, test } from "vitest";
import { bucketSizes, bucketsOf, rowsByBucket } from "../../lib/data/buckets.js";
import { createLoader } from "../../lib/data/loader.js";
import { EpochOrder, seededPermutations } from "../../lib/data/permutation.js";
import { loadSize } from "../../lib/images/load.js";
import { RgbImage } from "../../lib/index.js";
import { line, useScratch } from "./helpers.js";

const scratch = useScratch();

describe("the sizes of buckets", () => {
  test.each([
    [512, 64],
    [256, 64],
    [1024, 64],
    [32, 8],
    [250, 8],
  ])(
    "resolution %i in steps of %i: multiples, no more pixels than the square, from half to twice its edge",
    (R, step) => {
      const sizes = bucketSizes(R, step);
      expect(sizes.length).toBeGreaterThan(2);
      for (const { width, height } of sizes) {
        expect([width % step, height % step]).toEqual([0, 0]);
        expect(width * height).toBeLessThanOrEqual(R * R);
        // One step more would be too much.
        expect(width * (height + step) > R * R || height + step > 2 * R).toBe(true);
        for (const side of [width, height]) expect(side >= R / 2 && side <= 2 * R, `${width}×${height}`).toBe(true);
      }
    },
  );

  test("an image gets the nearest proportions, a square the resolution, and one that is unreadable a square", () => {
    const images = [{ width: 3000, height: 2000 }, { width: 200, height: 300 }, { width: 77, height: 77 }, undefined];
    const { sizes, of } = bucketsOf(
      [...images, { width: 9000, height: 10 }, { width: 1500, height: 1001 }],
      bucketSizes(512, 64),
    );
    const found = [...of].map((bucket) => sizes[bucket]!);
    expect(found.map(({ width, height }) => `${width}×${height}`)).toEqual([
      ...["640×384", "384×640", "512×512", "512×512", "1024×256", "640×384"],
    ]);
    expect(rowsByBucket({ sizes, of })).toEqual([[0, 5], [1], [2, 3], [4]]);
  });
});

describe("the order of batches", () => {
  /** Three buckets with 13, 7 and 3 rows. */
  const buckets = Uint16Array.from({ length: 23 }, (_, row) => (row % 23 < 13 ? 0 : row < 20 ? 1 : 2));
  const options = { length: 23, batchSize: 2, source: seededPermutations(9), buckets };

  async function epochOf(order: EpochOrder): Promise<number[][]> {
    const batches: number[][] = [];
    for await (const { rows } of order.restOfEpoch()) batches.push(rows);
    return batches;
  }
  const oneBucketEach = (batches: readonly number[][]) =>
    batches.every((rows) => rows.every((row) => buckets[row] === buckets[rows[0]!]));

  test("is of one bucket a batch, with every row once, in another order each epoch", async () => {
    const order = new EpochOrder(options);
    const [first, second] = [await epochOf(order), await epochOf(order)];
    for (const batches of [first, second]) {
      expect(batches.flat().sort((a, b) => a - b)).toEqual([...buckets.keys()]);
      expect(oneBucketEach(batches)).toBe(true);
      expect(batches).toHaveLength(order.batchesPerEpoch);
    }
    expect(second).not.toEqual(first);
  });

  test("several processes have a batch of the same bucket in every step, all of them as many, and each row at least once", async () => {
    const ranks = [0, 1, 2].map((rank) => new EpochOrder({ ...options, rank, worldSize: 3 }));
    const parts = await Promise.all(ranks.map(epochOf));
    for (const part of parts) expect(part).toHaveLength(ranks[0]!.batchesPerEpoch);
    const steps = parts[0]!.map((_, step) => parts.flatMap((part) => part[step]!));
    expect(oneBucketEach(steps)).toBe(true);
    for (const rows of steps) expect(rows).toHaveLength(6);
    expect(new Set(steps.flat()).size).toBe(23);
  });

  test.each([1, 2])("goes on from any batch as if nothing had been between, with %i processes", async (worldSize) => {
    const mine = { ...options, worldSize, rank: worldSize - 1 };
    const order = new EpochOrder(mine);
    const seen: { rows: number[]; state: string }[] = [];
    for (let i = 0; i < 30; i++) {
      const { rows, next } = await order.next();
      seen.push({ rows, state: JSON.stringify(next) });
    }
    for (const [i, { state }] of seen.slice(0, -3).entries()) {
      const resumed = EpochOrder.fromJSON(JSON.parse(state), mine);
      for (let k = 1; k <= 3; k++) expect((await resumed.next()).rows).toEqual(seen[i + k]!.rows);
    }
  });

  test("in the midst of an epoch another division is refused", async () => {
    const order = new EpochOrder(options);
    const { next } = await order.next();
    const plain = { length: 23, batchSize: 2, source: options.source };
    for (const other of [{ ...options, batchSize: 4 }, { ...options, worldSize: 2 }, plain])
      expect(() => EpochOrder.fromJSON(next, other)).toThrow(expect.objectContaining({ code: "ERR_CHECKPOINT" }));
    const { next: fromPlain } = await new EpochOrder(plain).next();
    expect(() => EpochOrder.fromJSON(fromPlain, options)).toThrow(/buckets need the same trainBatchSize/);
    expect(EpochOrder.fromJSON({ ...next, cursor: 0 }, { ...options, batchSize: 4 }).cursor).toBe(0);
  });
});

describe("images of a bucket", () => {
  test("keep their proportions: they cover the bucket's size and are cut in the middle", async () => {
    // Left third red, middle green, right third blue; twice as wide as high.
    const stripes = Uint8Array.from({ length: 60 * 30 * 3 }, (_, i) => {
      const x = Math.floor(i / 3) % 60;
      return Math.floor(x / 20) === i % 3 ? 255 : 0;
    });
    const wide = await new RgbImage(60, 30, stripes).encode("png");
    const folder = await scratch.folder({ "a.png": wide, "metadata.jsonl": line("a.png", "a.png", "do nothing") });
    const dataset = await scratch.open({ trainDataDir: folder });
    const loader = createLoader(dataset, { resolution: 8, sizeOf: () => ({ width: 10, height: 30 }) });
    const { originals, edited, size } = await loader.load([0]);
    expect(size).toEqual({ width: 10, height: 30 });
    expect(originals).toEqual(edited);
    // All of it is from the middle third.
    const green = Uint8Array.from({ length: 10 * 30 * 3 }, (_, i) => (i % 3 === 1 ? 255 : 0));
    expect([...originals]).toEqual([...green]);
    const mixed = createLoader(dataset, { resolution: 8, sizeOf: (row) => ({ width: 8 + row, height: 8 }) });
    await expect(mixed.load([0, 1])).rejects.toThrow(RangeError);
  });

  test.each([1, 6])("their sizes are those of upright images, orientation %i", async (orientation) => {
    const turned = await sharp({ create: { width: 20, height: 10, channels: 3, background: "red" } })
      .withMetadata({ orientation })
      .jpeg()
      .toBuffer();
    const { width, height } = await RgbImage.load(turned);
    expect(await loadSize(turned)).toEqual({ width, height });
    expect(width).toBe(orientation === 6 ? 10 : 20);
  });
});

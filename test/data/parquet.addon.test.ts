import { readdirSync, readFileSync } from "node:fs";
import {
  appendFile,
  chmod,
  copyFile,
  mkdir,
  readdir,
  rm,
  stat,
  symlink,
  truncate,
  utimes,
  writeFile,
} from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import { parquetWriteBuffer } from "hyparquet-writer";
import { describe, expect, test } from "vitest";
import { DataFolder } from "../../lib/data/data-folder.js";
import { FilePool } from "../../lib/data/file-pool.js";
import { openDataset } from "../../lib/data/open-dataset.js";
import { openParquetDataset } from "../../lib/data/parquet/dataset.js";
import { fixture } from "../helpers/fixtures.js";
import { loadAll, MIXED, MIXED_LENGTH, picture, promptsOf, useScratch } from "./helpers.js";

const scratch = useScratch();
const parquet = (name: string) => fixture("data", "mixed", "parquet", `${name}.parquet`);
const named = (name: string) => fixture("data", "mixed", "named", `${name}.parquet`);
const refusal = (message: RegExp) => ({ code: "ERR_DATASET", message: expect.stringMatching(message) });
const storesOf = (cacheDir: string) => readdirSync(join(cacheDir, "unpacked-datasets"));

/** A dataset of one parquet file with its own cache. */
async function single(copy: string) {
  const root = await scratch.folder({ "train.parquet": { copy } });
  return { root, file: join(root, "train.parquet"), cacheDir: scratch.path() };
}

describe("images that parquet packs", () => {
  test("are unpacked once and found again", async () => {
    const { root, cacheDir } = await single(parquet("snappy"));
    const progress: unknown[] = [];
    const first = await openDataset({ trainDataDir: root, cacheDir, onProgress: (now) => progress.push(now) });
    expect(progress.at(-1)).toEqual({ stage: "unpack", done: MIXED_LENGTH, total: MIXED_LENGTH });
    const [store] = storesOf(cacheDir);
    const cells = join(cacheDir, "unpacked-datasets", store!, "cells.bin");
    const { mtimeMs, ino } = await stat(cells);
    const second = await openDataset({ trainDataDir: root, cacheDir });
    expect(await stat(cells)).toMatchObject({ mtimeMs, ino });
    expect(storesOf(cacheDir)).toEqual([store]);
    expect(await loadAll(second)).toEqual(await loadAll(first));
    expect(second.fingerprint).toBe(first.fingerprint);
    await Promise.all([first.close(), second.close()]);
  });

  test("are unpacked again when the file, the columns or the choice of rows change", async () => {
    const { root, file, cacheDir } = await single(parquet("snappy"));
    const open = async (more = {}) => {
      const dataset = await openDataset({ trainDataDir: root, cacheDir, ...more });
      const prompts = await promptsOf(dataset);
      await dataset.close();
      return { prompts, fingerprint: dataset.fingerprint };
    };
    const first = await open();
    await open({ originalImageColumn: "edited_image" });
    const some = await open({ maxTrainSamples: 2, seed: 3 });
    expect(some.prompts).toHaveLength(2);
    expect(first.prompts).toEqual(expect.arrayContaining(some.prompts));
    expect(storesOf(cacheDir)).toHaveLength(3);
    await copyFile(parquet("zstd-small-groups"), file);
    const second = await open();
    expect(second.prompts).toEqual(first.prompts);
    expect(storesOf(cacheDir)).toHaveLength(4);
    expect(new Set([first, some, second].map(({ fingerprint }) => fingerprint)).size).toBe(3);
  });

  test("take no disk space if they are stored uncompressed, and are read from the file", async () => {
    const bytes = Array.from({ length: 6 }, (_, i) => Buffer.alloc(600_000, i));
    const write = async (codec: "UNCOMPRESSED" | "SNAPPY") => {
      const file = parquetWriteBuffer({
        codec,
        columnData: [
          { name: "input_image", data: bytes, type: "BYTE_ARRAY" },
          { name: "edited_image", data: bytes.toReversed(), type: "BYTE_ARRAY" },
          { name: "edit_prompt", data: bytes.map((_, i) => `p${i}`), type: "STRING" },
        ],
      });
      const root = await scratch.folder({ "train.parquet": Buffer.from(file) });
      const cacheDir = scratch.path();
      const dataset = await openDataset({ trainDataDir: root, cacheDir });
      for (let i = 0; i < 6; i++) {
        const row = await dataset.row(i);
        expect(row.prompt).toBe(`p${i}`);
        expect(Buffer.compare((row.original as { bytes: Uint8Array }).bytes, bytes[i]!)).toBe(0);
        expect(Buffer.compare((row.edited as { bytes: Uint8Array }).bytes, bytes[5 - i]!)).toBe(0);
      }
      await dataset.close();
      return (await stat(join(cacheDir, "unpacked-datasets", storesOf(cacheDir)[0]!, "cells.bin"))).size;
    };
    expect(await write("UNCOMPRESSED")).toBeLessThan(100);
    expect(await write("SNAPPY")).toBeGreaterThan(7_000_000);
  });

  test("only those of the chosen rows are unpacked", async () => {
    const { root, cacheDir } = await single(parquet("zstd-small-groups"));
    const sizeOf = async (more = {}) => {
      const own = scratch.path();
      await (await openDataset({ trainDataDir: root, cacheDir: own, ...more })).close();
      return (await stat(join(own, "unpacked-datasets", storesOf(own)[0]!, "cells.bin"))).size;
    };
    expect(await sizeOf({ maxTrainSamples: 1, seed: 0 })).toBeLessThan((await sizeOf()) / 2);
    expect(cacheDir).toBeTruthy();
  });

  test("leftovers of a killed process are removed; an incomplete store is rebuilt", async () => {
    const { root, cacheDir } = await single(parquet("snappy"));
    await (await openDataset({ trainDataDir: root, cacheDir })).close();
    const stores = join(cacheDir, "unpacked-datasets");
    const [store] = storesOf(cacheDir);
    for (const spoil of [
      () => rm(join(stores, store!, "manifest.json")),
      () => truncate(join(stores, store!, "cells.bin"), 10),
      () => truncate(join(stores, store!, "index.bin"), 3),
      () => writeFile(join(stores, store!, "manifest.json"), "{"),
    ]) {
      await spoil();
      await mkdir(join(stores, `${store}.tmp`));
      await writeFile(join(stores, `${store}.tmp`, "cells.bin"), "half");
      // A lock of a process that has ended.
      await writeFile(join(stores, `${store}.lock`), JSON.stringify({ id: "x", pid: 2 ** 22 - 1, host: "elsewhere" }));
      await utimes(join(stores, `${store}.lock`), 1, 1);
      const dataset = await openDataset({ trainDataDir: root, cacheDir });
      expect((await loadAll(dataset)).indices).toHaveLength(MIXED_LENGTH);
      expect(storesOf(cacheDir)).toEqual([store]);
      await dataset.close();
    }
  });

  test("are unpacked once for several concurrent readers", async () => {
    const { root, cacheDir } = await single(parquet("snappy"));
    const datasets = await Promise.all([1, 2, 3].map(() => openDataset({ trainDataDir: root, cacheDir })));
    expect(storesOf(cacheDir)).toHaveLength(1);
    const batches = await Promise.all(datasets.map((dataset) => loadAll(dataset)));
    expect(batches[1]).toEqual(batches[0]);
    await Promise.all(datasets.map((dataset) => dataset.close()));
  });

  test("an abort leaves nothing behind", async () => {
    const { root, cacheDir } = await single(parquet("zstd-small-groups"));
    // A store that was whole in time may stay.
    const left = async () => {
      const names: string[] = await readdir(join(cacheDir, "unpacked-datasets")).catch(() => []);
      return names.filter((name) => name.includes("."));
    };
    for (const milliseconds of [0, 1, 5, 20]) {
      // Where it is quick enough, it is done by then.
      const opening = openDataset({ trainDataDir: root, cacheDir, signal: AbortSignal.timeout(milliseconds) });
      const failure = await opening.then(
        (dataset) => dataset.close(),
        (error: unknown) => error,
      );
      if (failure !== undefined) expect(failure).toMatchObject({ code: "ERR_ABORTED" });
      expect(await left()).toEqual([]);
    }
    const abort = new AbortController();
    const onProgress = () => abort.abort();
    const opening = openDataset({ trainDataDir: root, cacheDir, signal: abort.signal, onProgress });
    await expect(opening).rejects.toMatchObject({ code: "ERR_ABORTED" });
    expect(await left()).toEqual([]);
  });

  test.skipIf(process.getuid?.() === 0)("a cache that cannot be written is named", async () => {
    const { root, cacheDir } = await single(parquet("snappy"));
    await mkdir(cacheDir);
    await chmod(cacheDir, 0o500);
    await expect(openDataset({ trainDataDir: root, cacheDir })).rejects.toMatchObject({ code: "ERR_IO" });
    await chmod(cacheDir, 0o700);
  });

  test("a cache where a file is in the way is named", async () => {
    const { root, cacheDir } = await single(parquet("snappy"));
    await writeFile(cacheDir, "");
    await expect(openDataset({ trainDataDir: root, cacheDir })).rejects.toMatchObject({
      code: "ERR_IO",
      message: expect.stringMatching(/unpacked-datasets:? cannot be (written|used)/),
    });
  });
});

describe("images that parquet names", () => {
  const withImages = (name: string) =>
    scratch.folder({ "images/": { copy: join(MIXED, "images") }, "train.parquet": { copy: named(name) } });

  test.each(["struct", "strings"])("are relative to the file or to the dataset: %s", async (name) => {
    const expected = await loadAll(await scratch.open({ trainDataDir: MIXED }));
    const besides = await withImages(name);
    const above = await scratch.folder({
      "images/": { copy: join(MIXED, "images") },
      "data/train-00000-of-00001.parquet": { copy: named(name) },
    });
    for (const root of [besides, above]) {
      const dataset = await scratch.open({ datasetName: root, originalImageColumn: "input_image" });
      expect(await loadAll(dataset)).toEqual(expected);
      await dataset.close();
    }
  });

  test("by paths from before the dataset was moved are found at the new place", async () => {
    const root = await scratch.folder({
      "mixed/images/": { copy: join(MIXED, "images") },
      "mixed/parquet/data/train.parquet": { copy: named("absolute") },
    });
    const dataset = await scratch.open({ trainDataDir: join(root, "mixed", "parquet") });
    expect(await loadAll(dataset)).toEqual(await loadAll(await scratch.open({ trainDataDir: MIXED })));
    await dataset.close();
    const lost = await scratch.open({
      trainDataDir: await scratch.folder({ "t.parquet": { copy: named("absolute") } }),
    });
    await expect(lost.row(0)).rejects.toMatchObject({
      code: "ERR_FILE_NOT_FOUND",
      message: 'the image "/somewhere/else/mixed/images/0_i.png" does not exist',
    });
    await lost.close();
  });

  test("may be absent from this machine if the dataset came from another", async () => {
    const folder = await DataFolder.open(await withImages("absolute"), false);
    const columns = { original: "input_image", edited: "edited_image", prompt: "edit_prompt" };
    const options = {
      files: ["train.parquet"],
      columns,
      stores: scratch.path(),
      otherColumns: false,
      select: async () => undefined,
    };
    const dataset = await openParquetDataset({ folder, ...options });
    await expect(dataset.row(0)).rejects.toMatchObject(refusal(/names the image "\/somewhere.*another machine/));
    await dataset.close();
  });

  test("do not lead out of the dataset", async () => {
    const root = await withImages("hostile");
    const secrets = await scratch.folder({ "secret.png": picture("0_i.png") });
    await symlink(join(secrets, "secret.png"), join(root, "link.png"));
    const folder = await DataFolder.open(root, false);
    const columns = { original: "input_image", edited: "edited_image", prompt: "edit_prompt" };
    const options = {
      files: ["train.parquet"],
      columns,
      stores: scratch.path(),
      otherColumns: false,
      select: async () => undefined,
    };
    const dataset = await openParquetDataset({ folder, ...options });
    for (let row = 0; row < MIXED_LENGTH; row++)
      await expect(dataset.row(row), String(row)).rejects.toMatchObject({ code: "ERR_DATASET" });
    await dataset.close();
  });
});

describe("faults of a parquet file", () => {
  test("a row without an image or a prompt is skipped by name", async () => {
    const { root } = await single(named("incomplete"));
    const dataset = await scratch.open({ trainDataDir: root });
    expect(await Promise.all([0, 3, 4].map(async (i) => (await dataset.row(i)).prompt))).toEqual(["fine", null, ""]);
    const reasons: string[] = [];
    expect((await loadAll(dataset, { onSkip: ({ reason }) => reasons.push(reason) })).indices).toEqual([0]);
    expect(reasons.toSorted()).toEqual([
      "train.parquet, row 1: has no input_image",
      "train.parquet, row 2: has no input_image",
      "train.parquet, row 3: has no prompt",
      "train.parquet, row 4: has an empty prompt",
      expect.stringMatching(/^train.parquet, row 5: the image is a GIF image that cannot be decoded/),
    ]);
    await dataset.close();
  });

  test("a column that is missing or holds something else", async () => {
    const { root } = await single(parquet("snappy"));
    const open = (more: object) => scratch.open({ trainDataDir: root, ...more });
    await expect(open({ editPromptColumn: "x" })).rejects.toMatchObject(
      refusal(
        /no column "x"; set editPromptColumn to one of those it has: "input_image", "id", "edited_image", "edit_prompt"/,
      ),
    );
    await expect(open({ editPromptColumn: "id" })).rejects.toMatchObject(refusal(/"id" .* does not hold text/));
    await expect(open({ editPromptColumn: "input_image" })).rejects.toMatchObject(refusal(/does not hold text/));
    await expect(open({ editedImageColumn: "id" })).rejects.toMatchObject(refusal(/"id" .* does not hold images/));
  });

  test("an empty, a truncated and a foreign file", async () => {
    for (const [what, spoil] of [
      ["empty", (file: string) => truncate(file, 0)],
      ["truncated", (file: string) => truncate(file, 20_000)],
      ["foreign", (file: string) => writeFile(file, "hello, this is text")],
      ["longer", (file: string) => appendFile(file, "x")],
    ] as const) {
      const { root, file } = await single(parquet("snappy"));
      await spoil(file);
      await expect(scratch.open({ trainDataDir: root }), what).rejects.toMatchObject(
        refusal(/train.parquet is not a readable parquet file/),
      );
    }
  });

  test("flipped bits give typed errors or rows, never a crash", async () => {
    const whole = readFileSync(parquet("snappy"));
    const { root, file } = await single(parquet("snappy"));
    const cacheDir = scratch.path();
    let refused = 0;
    await fc.assert(
      fc.asyncProperty(
        // The footer, and the headers of the pages.
        fc.oneof(fc.integer({ min: whole.length - 3000, max: whole.length - 1 }), fc.integer({ min: 4, max: 60 })),
        fc.integer({ min: 0, max: 7 }),
        async (at, bit) => {
          const bytes = Buffer.from(whole);
          bytes[at]! ^= 1 << bit;
          await writeFile(file, bytes);
          try {
            const dataset = await openDataset({ trainDataDir: root, cacheDir, signal: AbortSignal.timeout(200_000) });
            await loadAll(dataset, { onSkip: () => {} }).catch((error) => expect(error.code).toBe("ERR_DATASET"));
            await dataset.close();
          } catch (error) {
            refused++;
            expect(error).toMatchObject({ code: expect.stringMatching(/^ERR_(DATASET|IO)$/) });
          }
        },
      ),
      { numRuns: 15, seed: 7 },
    );
    expect(refused).toBeGreaterThan(2);
  });
});

test("a pool reads many files with few open, and again after it was closed", async () => {
  const root = await scratch.folder(Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`${i}`, `content ${i}`])));
  const pool = new FilePool(3);
  const open = () => readdirSync("/proc/self/fd").length;
  const before = process.platform === "linux" ? open() : 0;
  const read = async (i: number) => (await pool.read(join(root, `${i % 20}`), 8, i % 20 < 10 ? 1 : 2)).toString();
  expect(await Promise.all(Array.from({ length: 100 }, (_, i) => read(i)))).toEqual(
    Array.from({ length: 100 }, (_, i) => String(i % 20)),
  );
  if (process.platform === "linux") expect(open() - before).toBeLessThanOrEqual(3);
  await expect(pool.read(join(root, "none"), 0, 1)).rejects.toMatchObject({ code: "ENOENT" });
  await writeFile(join(root, "none"), "x");
  expect((await pool.read(join(root, "none"), 0, 1)).toString()).toBe("x");
  await expect(pool.read(join(root, "none"), 0, 2)).rejects.toThrow(/ends too early/);
  await pool.close();
  expect(await read(7)).toBe("7");
  await pool.close();
  if (process.platform === "linux") expect(open()).toBeLessThanOrEqual(before);
});

import { createHash } from "node:crypto";
import { copyFileSync, mkdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { EpochOrder, seededPermutations } from "../../../lib/data/permutation.js";
import type { TrainInput } from "../../../lib/training/train-input.js";
import {
  expectError,
  filesBelow,
  metrics,
  TemporaryFolder,
  tinyOptions,
  tinyPairs,
  trained,
  upTo,
  watch,
} from "./tiny-run.js";

let folder: TemporaryFolder;
beforeAll(() => {
  folder = new TemporaryFolder();
});
afterAll(() => folder[Symbol.dispose]());

interface Row {
  input_image_file_name?: string;
  edited_image_file_name?: string;
  edit_prompt?: string | null;
}

/** A copy of the data set, spoilt. */
function spoilt(name: string, spoil: (pairs: string, rows: Row[]) => void): string {
  const pairs = folder.copyOfPairs(name);
  const path = join(pairs, "metadata.jsonl");
  const rows = readFileSync(path, "utf8")
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as Row);
  spoil(pairs, rows);
  writeFileSync(path, rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
  return pairs;
}

const oneEpoch: Partial<TrainInput> = {
  gradientAccumulationSteps: 1,
  conditioningDropoutProb: undefined,
  maxTrainSteps: undefined,
  numTrainEpochs: 1,
  useEma: false,
};

const FAULTS: [string, RegExp, (pairs: string, rows: Row[]) => void][] = [
  ["a truncated PNG", /002_a\.png/, (pairs) => truncateSync(join(pairs, "images/002_a.png"), 300)],
  ["a truncated JPEG", /003_a\.jpg/, (pairs) => truncateSync(join(pairs, "images/003_a.jpg"), 500)],
  ["an image that is none", /003_b\.png/, (pairs) => writeFileSync(join(pairs, "images/003_b.png"), "hello")],
  ["an image that is empty", /003_a\.jpg/, (pairs) => writeFileSync(join(pairs, "images/003_a.jpg"), "")],
  ["an empty prompt", /empty prompt/, (_, rows) => void (rows[3]!.edit_prompt = "  ")],
  ["no prompt", /no prompt/, (_, rows) => void (rows[3]!.edit_prompt = null)],
];

describe.each(FAULTS)("one row with %s", (name, message, spoil) => {
  test("is named and counted, and the run continues", async () => {
    const pairs = spoilt(name, spoil);
    const outputDir = folder.at(`out ${name}`);
    const options = { ...oneEpoch, trainDataDir: pairs, trainBatchSize: 5 };
    const { result, records, warnings } = await trained(tinyOptions(outputDir, options));
    expect(result!.skippedRows).toBe(1);
    expect(warnings.filter((text) => text.startsWith("row skipped: "))).toHaveLength(1);
    expect(warnings.join()).toMatch(message);
    expect(warnings.join()).not.toMatch(/\n/);
    // Two batches of five, one of which has one row less.
    expect(records.map(({ step }) => step)).toEqual(upTo(2));
    expect(metrics(outputDir).every(({ train_loss }) => Number.isFinite(train_loss))).toBe(true);
  });

  test("stops a strict run", async () => {
    const pairs = spoilt(`strict ${name}`, spoil);
    const seen = await watch(
      tinyOptions(folder.at(`strict out ${name}`), { ...oneEpoch, trainDataDir: pairs, strict: true }),
    );
    expect(expectError(seen, "ERR_DATASET")).toMatch(message);
  });
});

test("an image that is missing is named", async () => {
  const pairs = spoilt("missing", (at) => rmSync(join(at, "images/003_b.png")));
  const lenient = await watch(tinyOptions(folder.at("out missing"), { ...oneEpoch, trainDataDir: pairs }));
  // Whether the folder is refused as a whole or the row is passed over, the file is named.
  const told = [...lenient.warnings, (lenient.error as Error | undefined)?.message].join();
  expect(told).toMatch(/003_b\.png/);
  const strict = await watch(
    tinyOptions(folder.at("strict missing"), { ...oneEpoch, trainDataDir: pairs, strict: true }),
  );
  expect((strict.error as Error).message).toMatch(/003_b\.png/);
});

/** A data set of which one row of ten can be used. */
function oneUsable(name: string): string {
  return spoilt(name, (at, rows) => {
    for (const row of rows.keys()) if (row !== 4) truncateSync(join(at, `images/00${row}_b.png`), 100);
  });
}

test("a batch without a usable row makes no step, and the run continues with the next", async () => {
  const pairs = oneUsable("whole batches");
  const options = { ...oneEpoch, trainDataDir: pairs, maxTrainSteps: 3 };
  const { result, records } = await trained(tinyOptions(folder.at("out whole batches"), options));
  expect(result!.skippedRows).toBe(9);
  // One step in every epoch, whichever of the five batches it is that has the row.
  expect(records.map(({ step, epoch }) => [step, epoch])).toEqual([
    [1, 0],
    [2, 1],
    [3, 2],
  ]);
});

test("batches without a usable row make a run shorter and do not add epochs", async () => {
  const outputDir = folder.at("out epochs");
  const options = { ...oneEpoch, trainDataDir: oneUsable("epochs"), numTrainEpochs: 2, checkpointingSteps: 1 };
  const { result, records } = await trained(tinyOptions(outputDir, options));
  expect(records.map(({ step, epoch }) => [step, epoch])).toEqual([
    [1, 0],
    [2, 1],
  ]);
  expect(result!.step).toBe(2);
  // Nor does resuming from its last checkpoint: the rest of the second epoch has no usable row.
  const again = await trained(tinyOptions(outputDir, { ...options, resumeFromCheckpoint: "latest" }));
  expect(again.records).toEqual([]);
  expect(again.result!.step).toBe(2);
  const longer = { ...options, numTrainEpochs: 3, resumeFromCheckpoint: "latest" };
  expect((await trained(tinyOptions(outputDir, longer))).records.map(({ step, epoch }) => [step, epoch])).toEqual([
    [3, 2],
  ]);
});

test.each([{ maxTrainSteps: 3 }, { numTrainEpochs: 3 }])(
  "an epoch without a usable row is an error, also with cached latents: %j",
  async (length) => {
    const outputDir = folder.at(`out cached ${Object.keys(length)}`);
    const options = tinyOptions(outputDir, { ...oneEpoch, ...length, cacheLatents: true });
    await trained(options);
    const [cache] = filesBelow(outputDir).filter((path) => path.endsWith("cache.json"));
    const [description] = readFileSync(join(outputDir, cache!), "utf8").split("\n");
    const without = description!.replace('"1111111111"', '"0000000000"');
    const seal = createHash("sha256").update(without).digest("hex");
    writeFileSync(join(outputDir, cache!), `${without}\n${seal}\n`);
    const seen = await watch(options);
    expect(expectError(seen, "ERR_DATASET")).toBe("epoch 0 made no step: none of the 10 rows can be used");
    expect(seen.records).toEqual([]);
  },
);

test("a data set without a usable row is an error, not an endless run", async () => {
  const pairs = spoilt("nothing", (_, rows) => {
    for (const row of rows) row.edit_prompt = "";
  });
  const seen = await watch(tinyOptions(folder.at("out nothing"), { ...oneEpoch, trainDataDir: pairs }));
  expect(expectError(seen, "ERR_DATASET")).toMatch(/none of the 10 rows can be used/);
});

test("a column that does not exist is refused with those there are", async () => {
  const seen = await watch(tinyOptions(folder.at("out column"), { ...oneEpoch, editPromptColumn: "instruction" }));
  expect(expectError(seen, "ERR_DATASET")).toMatch(/instruction.*edit_prompt|edit_prompt.*instruction/);
});

test("images of different sizes and shapes are resized to one size", async () => {
  const { RgbImage } = await import("../../../lib/images/index.js");
  const pairs = folder.copyOfPairs("sizes");
  const gray = (width: number, height: number) =>
    new RgbImage(width, height, new Uint8Array(width * height * 3).fill(99));
  await gray(7, 90).save(join(pairs, "images/002_a.png"));
  await gray(200, 20).save(join(pairs, "images/003_b.png"));
  await gray(1, 1).save(join(pairs, "images/004_b.png"));
  const { result, records } = await trained(tinyOptions(folder.at("out sizes"), { ...oneEpoch, trainDataDir: pairs }));
  expect(result!.skippedRows).toBe(0);
  expect(records).toHaveLength(5);
});

test("one broken row among ten thousand is named and skipped", async () => {
  const ROWS = 10_000;
  const [batch, batches, seed] = [20, 4, 3n];
  const order = new EpochOrder({ length: ROWS, batchSize: batch, source: seededPermutations(seed) });
  await order.next();
  // In the second batch.
  const broken = (await order.next()).rows[7]!;
  const pairs = folder.at("many");
  mkdirSync(pairs);
  copyFileSync(join(tinyPairs, "images/000_a.png"), join(pairs, "a.png"));
  copyFileSync(join(tinyPairs, "images/000_b.png"), join(pairs, "b.png"));
  writeFileSync(join(pairs, "broken.png"), readFileSync(join(pairs, "a.png")).subarray(0, 200));
  const lines = Array.from({ length: ROWS }, (_, i) => ({
    input_image_file_name: i === broken ? "broken.png" : "a.png",
    edited_image_file_name: "b.png",
    edit_prompt: `number ${i}`,
  }));
  writeFileSync(join(pairs, "metadata.jsonl"), lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
  const { result, records, warnings } = await trained(
    tinyOptions(folder.at("out many"), {
      ...oneEpoch,
      seed,
      trainDataDir: pairs,
      trainBatchSize: batch,
      maxTrainSteps: batches,
      dataloaderNumWorkers: 4,
    }),
  );
  expect(records.map(({ step }) => step)).toEqual(upTo(batches));
  expect(result!.skippedRows).toBe(1);
  expect(warnings).toHaveLength(1);
  expect(warnings[0]).toMatch(/broken\.png/);
  expect(warnings[0]).toMatch(new RegExp(`\\b(${broken}|${broken + 1})\\b`));
});

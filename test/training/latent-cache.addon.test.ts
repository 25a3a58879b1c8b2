import {
  chmodSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { train } from "../../lib/training/train.js";
import type { TrainInput } from "../../lib/training/train-input.js";
import { fixture } from "../helpers/fixtures.js";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "ip2p-cache-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Seen {
  losses: number[];
  /** Rows that were encoded. */
  cached: number;
  warnings: string[];
}

async function losses(name: string, options: Partial<TrainInput>, onStep?: (step: number) => void): Promise<Seen> {
  const found: number[] = [];
  const warnings: string[] = [];
  let cached = 0;
  const run = train({
    pretrainedModelNameOrPath: fixture("script-basic", "base"),
    trainDataDir: fixture("script-basic", "dataset"),
    outputDir: join(folder, name),
    resolution: 32,
    trainBatchSize: 2,
    maxTrainSteps: 7,
    seed: 3,
    randomFlip: true,
    conditioningDropoutProb: 0.1,
    reportTo: "none",
    ...options,
    onStep: ({ step }) => onStep?.(step),
    onEvent: (event) => {
      if (event.type === "caching") cached = event.done;
      if (event.type === "warning") warnings.push(event.message);
    },
  });
  for await (const { trainLoss } of run) found.push(trainLoss);
  return { losses: found, cached, warnings: warnings.filter((text) => /latents/.test(text)) };
}

const differences = (a: number[], b: number[]) => a.map((loss, i) => Math.abs(loss / b[i]! - 1));

test.each([{}, { compat: "diffusers" as const }])(
  "cached latents give the same losses as uncached ones, %o",
  async (mode) => {
    const cacheDir = join(folder, `cache-${JSON.stringify(mode).length}`);
    const plain = await losses("plain", mode);
    const cached = await losses("cached", { ...mode, cacheLatents: true, cacheDir });
    expect(plain.losses).toHaveLength(7);
    expect(Math.max(...differences(cached.losses, plain.losses))).toBeLessThan(1e-5);
    expect(cached.cached).toBe(9);

    const again = await losses("again", { ...mode, cacheLatents: true, cacheDir });
    expect(again.losses).toEqual(cached.losses);
    expect(again.cached, "the second run encodes nothing").toBe(0);
  },
);

test("another resolution has its own cache, and no unfinished cache remains", async () => {
  const cacheDir = join(folder, "keys");
  await losses("a", { cacheLatents: true, cacheDir, maxTrainSteps: 1 });
  await losses("b", { cacheLatents: true, cacheDir, maxTrainSteps: 1, resolution: 48 });
  const found = readdirSync(join(cacheDir, "latents"));
  expect(found).toHaveLength(2);
  expect(found.every((name) => /^latents-[0-9a-f]{16}$/.test(name))).toBe(true);
});

let first: Promise<Seen> | undefined;

/** A copy of a cache, and the losses of the run that made it. */
async function made(name: string) {
  const steps = { cacheLatents: true, maxTrainSteps: 5 };
  first ??= losses("first-run", { ...steps, cacheDir: join(folder, "first") });
  const whole = await first;
  const options = { ...steps, cacheDir: join(folder, name) };
  cpSync(join(folder, "first"), options.cacheDir, { recursive: true });
  const [entry] = readdirSync(join(folder, name, "latents"));
  return { options, whole, cache: join(folder, name, "latents", entry!) };
}

/** Puts a link, or without a target a folder, where a part of the cache was. */
function inPlaceOf(cache: string, name: string, target?: string): void {
  const path = join(cache, name);
  rmSync(path, { recursive: true });
  if (target === undefined) mkdirSync(path);
  else symlinkSync(target, path);
}

test.each<[string, (cache: string) => void, RegExp]>([
  [
    "cut to half",
    (cache) => truncateSync(join(cache, "records.bin"), statSync(join(cache, "records.bin")).size / 2),
    /has \d+ bytes where \d+ were written/,
  ],
  [
    "grown",
    (cache) => truncateSync(join(cache, "records.bin"), statSync(join(cache, "records.bin")).size + 4),
    /has \d+ bytes/,
  ],
  ["described by a changed byte", (cache) => flip(join(cache, "cache.json"), 40), /cache\.json is damaged/],
  ["described by nothing", (cache) => writeFileSync(join(cache, "cache.json"), ""), /cache\.json is damaged/],
  ["described by a device", (cache) => inPlaceOf(cache, "cache.json", "/dev/zero"), /cache\.json is not a file/],
  ["described by a folder", (cache) => inPlaceOf(cache, "cache.json"), /cache\.json is not a file/],
  ["a folder of records", (cache) => inPlaceOf(cache, "records.bin"), /records\.bin is not a file/],
  ["a link", (cache) => inPlaceOf(cache, "", "/nowhere"), /it is not a folder/],
])("a cache that is %s is rebuilt with a warning", async (name, damage, message) => {
  const { options, whole, cache } = await made(name);
  damage(cache);
  const again = await losses(`${name}-again`, options);
  expect(again.losses).toEqual(whole.losses);
  expect(again.cached).toBe(9);
  expect(again.warnings).toEqual([expect.stringMatching(message)]);
});

/** Bytes of a record in a cache of nine rows. */
const sizeOf = (records: string) => statSync(records).size / 9;

test.each<[string, number[], (records: string) => void]>([
  ["a changed bit", [4], (records) => flip(records, sizeOf(records) * 4 + 100)],
  [
    "two rows exchanged",
    [2, 3],
    (records) => {
      const size = sizeOf(records);
      const bytes = readFileSync(records);
      const [third, fourth] = [2, 3].map((row) => Buffer.from(bytes.subarray(row * size, (row + 1) * size)));
      bytes.set(fourth!, 2 * size);
      bytes.set(third!, 3 * size);
      writeFileSync(records, bytes);
    },
  ],
  ["every row lost", [0, 1, 2, 3, 4, 5, 6, 7, 8], (records) => writeFileSync(records, readFileSync(records).fill(0))],
])("a record with %s is encoded anew, with the same bits, and the run goes on", async (name, rows, damage) => {
  const { options, whole, cache } = await made(name);
  const records = join(cache, "records.bin");
  const before = readFileSync(records);
  damage(records);
  // Another batch size than the cache was made with.
  const again = await losses(`${name}-again`, { ...options, trainBatchSize: 3, maxTrainSteps: 3 });
  expect(again.cached).toBe(0);
  expect(readFileSync(records).equals(before)).toBe(true);
  // One warning for those that were encoded together.
  expect(again.warnings).toHaveLength(new Set(rows.map((row) => Math.floor(row / 2))).size);
  for (const warning of again.warnings)
    expect(warning).toMatch(/records\.bin: the latents of row \d are damaged, .*; they are encoded anew$/);
  expect(await losses(`${name}-mended`, options)).toEqual({ losses: whole.losses, cached: 0, warnings: [] });
});

test("a cache that shrinks while it is used is completed", async () => {
  const { options, whole, cache } = await made("shrinks");
  const records = join(cache, "records.bin");
  const before = readFileSync(records);
  const again = await losses("shrinks-again", { ...options, maxTrainSteps: 10 }, (step) => {
    if (step === 1) truncateSync(records, 10);
  });
  expect(again.losses.slice(0, 5)).toEqual(whole.losses);
  expect(again.warnings.join()).toMatch(/it ends before byte \d+, so the latents of row \d are lost; they are encoded/);
  expect(readFileSync(records).equals(before)).toBe(true);
});

test("a damaged cache that cannot be written to serves on", async ({ skip }) => {
  skip(process.geteuid?.() !== 0, "this needs another user");
  const { options, whole, cache } = await made("read-only");
  const records = join(cache, "records.bin");
  flip(records, 100);
  const before = readFileSync(records);
  chmodSync(folder, 0o777);
  for (const path of [join(cache, ".."), join(cache, "..", "..")]) chmodSync(path, 0o755);
  process.seteuid!(65534);
  try {
    const again = await losses("read-only-again", options);
    expect(again.losses).toEqual(whole.losses);
    expect(again.warnings.join()).toMatch(
      /cannot write ".*records\.bin": permission denied; row 0 is encoded whenever/,
    );
  } finally {
    process.seteuid!(0);
  }
  expect(readFileSync(records).equals(before)).toBe(true);
});

test("a damaged record whose images are gone stops the run, with the row named", async () => {
  const trainDataDir = join(folder, "vanishing");
  cpSync(fixture("script-basic", "dataset"), trainDataDir, { recursive: true });
  const options = { cacheLatents: true, cacheDir: join(folder, "vanishing-cache"), trainDataDir, maxTrainSteps: 5 };
  await losses("vanishing-first", options);
  const [entry] = readdirSync(join(options.cacheDir, "latents"));
  const records = join(options.cacheDir, "latents", entry!, "records.bin");
  writeFileSync(records, readFileSync(records).fill(0));
  const run = losses("vanishing-again", options, (step) => {
    if (step === 1) rmSync(join(trainDataDir, "images"), { recursive: true });
  });
  await expect(run).rejects.toMatchObject({
    code: "ERR_IO",
    message: expect.stringMatching(/the latents of row \d are damaged, .*, and its images cannot be read any more/),
  });
  expect(readdirSync(join(folder, "vanishing-again"))).toContain("checkpoint-1");
});

test("leftovers of a killed build are removed, and an unwritable folder is named", async () => {
  const { options, cache } = await made("stale");
  mkdirSync(`${cache}.12345.tmp`);
  rmSync(join(cache, "cache.json"));
  expect((await losses("stale-again", options)).cached).toBe(9);
  expect(readdirSync(join(cache, ".."))).toHaveLength(1);
  writeFileSync(join(folder, "a-file"), "");
  await expect(losses("no-place", { ...options, cacheDir: join(folder, "a-file") })).rejects.toMatchObject({
    code: "ERR_IO",
  });
});

function flip(path: string, at: number): void {
  const bytes = readFileSync(path);
  bytes[at]! ^= 1;
  writeFileSync(path, bytes);
}

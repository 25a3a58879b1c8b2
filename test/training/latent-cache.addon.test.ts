import {
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
import type { TrainInput } from "../../lib/training/options.js";
import { train } from "../../lib/training/train.js";
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

async function losses(name: string, options: Partial<TrainInput>): Promise<Seen> {
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
    onEvent: (event) => {
      if (event.type === "caching") cached = event.done;
      if (event.type === "warning") warnings.push(event.message);
    },
  });
  for await (const { trainLoss } of run) found.push(trainLoss);
  return { losses: found, cached, warnings: warnings.filter((text) => /cache/.test(text)) };
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

/** A cache, and the losses of a run on it. */
async function made(name: string) {
  const options = { cacheLatents: true, cacheDir: join(folder, name), maxTrainSteps: 5 };
  const whole = await losses(`${name}-run`, options);
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

test.each<[string, (records: string, size: number) => void]>([
  ["a changed bit", (records, size) => flip(records, size * 4 + 100)],
  [
    "two rows exchanged",
    (records, size) => {
      const bytes = readFileSync(records);
      const [third, fourth] = [2, 3].map((row) => Buffer.from(bytes.subarray(row * size, (row + 1) * size)));
      bytes.set(fourth!, 2 * size);
      bytes.set(third!, 3 * size);
      writeFileSync(records, bytes);
    },
  ],
])("a record with %s stops the run; the next run repairs it", async (name, damage) => {
  const { options, whole, cache } = await made(name);
  const records = join(cache, "records.bin");
  damage(records, statSync(records).size / 9);
  await expect(losses(`${name}-again`, options)).rejects.toMatchObject({
    code: "ERR_IO",
    message: expect.stringMatching(/the latents of row \d are damaged.*next run encodes the pictures anew/),
  });
  const mended = await losses(`${name}-mended`, options);
  expect(mended.losses).toEqual(whole.losses);
  expect(mended.cached).toBe(9);
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

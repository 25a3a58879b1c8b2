import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { checkDataset } from "../../lib/data/check/check-dataset.js";
import { AROUND, isAlike, looksOf, placeOf } from "../../lib/data/check/looks.js";
import { loadImage, RgbImage } from "../../lib/images/index.js";
import { drawScene, worldExample } from "../../lib/world/index.js";
import { fixture } from "../helpers/fixtures.js";
import { line, MIXED, MIXED_LENGTH, useScratch } from "./helpers.js";

const scratch = useScratch();

/** Two different drawings, as encoded files. */
async function drawing(seed: number, size = 128): Promise<{ before: RgbImage; after: RgbImage }> {
  const { scene, edit } = worldExample(seed, 0);
  return { before: await drawScene(scene, size), after: await drawScene(edit.target, size) };
}

describe("a data set without faults", () => {
  test.each([
    ["an image folder", MIXED],
    ["its metadata file", join(MIXED, "metadata.jsonl")],
    ["a parquet file", fixture("data", "mixed", "parquet", "snappy.parquet")],
  ])("as %s has its rows, formats and sizes counted", async (_, from) => {
    const seen: number[] = [];
    const report = await checkDataset({
      ...{ from, cacheDir: scratch.cacheDir, workers: 3 },
      onProgress: ({ done, total }) => seen.push(done / total),
    });
    expect(report).toMatchObject({ rows: MIXED_LENGTH, usableRows: MIXED_LENGTH, unusable: { count: 0, first: [] } });
    expect(Object.values(report.formats).reduce((sum, count) => sum + count, 0)).toBe(2 * MIXED_LENGTH);
    expect(Object.keys(report.formats).length).toBeGreaterThan(2);
    expect(report.sizes.reduce((sum, { images }) => sum + images, 0)).toBe(2 * MIXED_LENGTH);
    expect(report.tokens!.longest).toBeLessThanOrEqual(77);
    expect(seen).toEqual(Array.from({ length: MIXED_LENGTH }, (_, i) => (i + 1) / MIXED_LENGTH));
    expect(report.sheet).toBeUndefined();
  });
});

test("everything that is wrong is found, and where", async () => {
  const [one, two] = [await drawing(1), await drawing(2)];
  const large = await one.before.toSharp().resize(300, 300).jpeg({ quality: 70 }).toBuffer();
  const from = await scratch.folder({
    "a.png": await one.before.encode("png"),
    "b.png": await one.after.encode("png"),
    "c.png": await two.before.encode("png"),
    "d.png": await two.after.encode("png"),
    "large.jpg": large,
    "cut.png": (await two.after.encode("png")).subarray(0, 200),
    "metadata.jsonl": [
      line("a.png", "b.png", "make it snow"), // row 0
      line("c.png", "d.png", "word ".repeat(90)),
      line("a.png", "b.png", " make it snow"), // the same as row 0
      line("large.jpg", "b.png", "let it snow"), // looks like row 0
      line("c.png", "c.png", "do nothing"), // row 4
      line("c.png", "cut.png", "x"),
      line("c.png", "none.png", "x"),
      line("c.png", "d.png", " "),
      line("c.png", "d.png", null),
      "not JSON\n",
    ].join(""),
  });
  const sheet = scratch.path().concat(".png");
  const report = await checkDataset({ from, sheet });
  expect(report).toMatchObject({ rows: 10, usableRows: 5, formats: { png: 9, jpg: 1 } });
  const where = (row: number) => ({ row, where: `metadata.jsonl, line ${row + 1}` });
  expect(report.unusable).toEqual({
    count: 5,
    first: [
      { ...where(5), reason: expect.stringMatching(/^the image after .*cannot be decoded/) },
      { ...where(6), reason: expect.stringContaining('"none.png" does not exist') },
      { ...where(7), reason: "has an empty prompt" },
      { ...where(8), reason: "has no prompt" },
      { ...where(9), reason: expect.stringContaining("malformed JSON") },
    ],
  });
  expect(report.longPrompts).toEqual({ count: 1, first: [{ ...where(1), tokens: 92 }] });
  const [small, big] = [
    { width: 128, height: 128 },
    { width: 300, height: 300 },
  ];
  expect(report.differentSizes).toEqual({ count: 1, first: [{ ...where(3), original: big, edited: small }] });
  expect(report.unchanged).toEqual({ count: 1, first: [where(4)] });
  expect(report.duplicates).toEqual({ count: 1, first: [{ ...where(0), repeatedBy: [2] }] });
  expect(report.nearDuplicates).toEqual({ count: 1, first: [{ ...where(0), repeatedBy: [3] }] });
  expect(report).toMatchObject({
    smallest: small,
    largest: big,
    sizes: [
      { ...small, images: 9 },
      { ...big, images: 1 },
    ],
  });
  expect(report.sheet).toEqual({ path: sheet, rows: [0, 1, 2, 3, 4] });
  // Four pairs of 128 + 2 + 128 in the first row, one in the second.
  const { width, height } = await loadImage(sheet);
  expect({ width, height }).toEqual({ width: 4 * 258 + 3 * 14, height: 2 * 128 + 14 });
});

describe("looks", () => {
  test("stay with another size and with compression", async () => {
    const photo = await loadImage(fixture("ip2p-tiny", "image.png"));
    for (const image of [photo, (await drawing(3)).before]) {
      const other = await loadImage(
        await image.toSharp().resize(200, 200, { fit: "fill" }).jpeg({ quality: 60 }).toBuffer(),
      );
      const [a, b] = [await looksOf(image), await looksOf(other)];
      expect(isAlike(a, b)).toBe(true);
      expect(AROUND).toContain(placeOf(b) - placeOf(a));
    }
  });

  test("differ between scenes, and with the colour", async () => {
    const all = await Promise.all(
      Array.from({ length: 40 }, async (_, i) => looksOf(await drawScene(worldExample(9, i).scene, 64))),
    );
    const alike = all.flatMap((a, i) => all.slice(i + 1).filter((b) => isAlike(a, b)));
    expect(alike).toEqual([]);
    const flat = (value: number) => looksOf(new RgbImage(8, 8, new Uint8Array(192).fill(value)));
    expect(isAlike(await flat(0), await flat(255))).toBe(false);
    expect(isAlike(await flat(100), await flat(102))).toBe(true);
  });
});

test("many rows of one look stay quick, and lists stay short", async () => {
  const flat = await new RgbImage(4, 4, new Uint8Array(48).fill(9)).encode("png");
  const rows = Array.from({ length: 400 }, (_, i) => line("flat.png", "flat.png", `number ${i}`)).join("");
  const from = await scratch.folder({ "flat.png": flat, "metadata.jsonl": rows });
  const report = await checkDataset({ from });
  expect(report.unchanged.count).toBe(400);
  expect(report.unchanged.first).toHaveLength(100);
  expect(report.nearDuplicates).toMatchObject({ count: 399, first: [{ row: 0 }] });
});

test.each([
  ["nothing there", { from: "/no/such/folder" }, "ERR_FILE_NOT_FOUND"],
  ["an unknown column", { from: MIXED, editPromptColumn: "words" }, "ERR_DATASET"],
  ["a sheet of no format", { from: MIXED, sheet: "sheet.txt" }, "ERR_IMAGE"],
  ["no workers", { from: MIXED, workers: 0 }, "ERR_INVALID_ARGUMENT"],
  ["a name from Python", { from: MIXED, edit_prompt_column: "x" }, "ERR_INVALID_ARGUMENT"],
])("refuses %s", async (_, options, code) => {
  await expect(checkDataset(options)).rejects.toMatchObject({ code });
});

test("stops when it is asked to", async () => {
  const stop = new AbortController();
  const check = checkDataset({ from: MIXED, signal: stop.signal, onProgress: () => stop.abort() });
  await expect(check).rejects.toMatchObject({ code: "ERR_ABORTED" });
});

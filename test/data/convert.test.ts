import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { type ConvertOptions, convertDataset } from "../../lib/data/convert.js";
import type { EditDataset } from "../../lib/data/dataset.js";
import { storedBytes } from "../../lib/data/pairs.js";
import { fixture } from "../helpers/fixtures.js";
import { line, MIXED, MIXED_LENGTH, picture, useScratch } from "./helpers.js";

const scratch = useScratch();
const PARQUET = readdirSync(fixture("data", "mixed", "parquet"));

async function convert(options: Omit<ConvertOptions, "output">) {
  const output = scratch.path();
  return { output, made: await convertDataset({ output, ...options }) };
}

/** Everything that the rows hold, the files of images byte for byte. */
async function contents(dataset: EditDataset) {
  const rows = [];
  for (let i = 0; i < dataset.length; i++) {
    const { original, edited, prompt, texts } = await dataset.row(i);
    const [before, after] = await Promise.all([storedBytes(original), storedBytes(edited)]);
    rows.push({ before: Buffer.from(before), after: Buffer.from(after), prompt, texts });
  }
  await dataset.close();
  return rows;
}

const images = (rows: Awaited<ReturnType<typeof contents>>) =>
  rows.map(({ before, after, prompt }) => ({ before, after, prompt }));

describe.each(["folder", "parquet"] as const)("as %s", (format) => {
  const open = (path: string) => scratch.open({ trainDataDir: path, otherColumns: true, strict: true });

  test("an image folder keeps its files byte for byte, whatever their formats, and its texts", async () => {
    const { output, made } = await convert({ from: MIXED, format });
    expect(made).toEqual({ rows: MIXED_LENGTH, skippedRows: 0, leftOutColumns: [] });
    const rows = await contents(await open(output));
    const expected = await contents(await scratch.open({ trainDataDir: MIXED, otherColumns: true }));
    expect(images(rows)).toEqual(images(expected));
    expect(rows.map(({ texts }) => texts)).toEqual(expected.map(({ texts }) => texts));
  });

  // Reading is the same for both: each kind of file is written in one of the formats.
  const every = PARQUET.filter((_, i) => i % 2 === (format === "folder" ? 0 : 1));
  test.each(every)("parquet files such as %s keep theirs", async (name) => {
    const copy = { copy: fixture("data", "mixed", "parquet", name) };
    const from = await scratch.folder({ "data/train-00000-of-00001.parquet": copy });
    const { output } = await convert({ from, format });
    const expected = await contents(await scratch.open({ trainDataDir: MIXED }));
    expect(images(await contents(await open(output)))).toEqual(images(expected));
    // What was unpacked on the way is gone.
    expect(readdirSync(output).filter((each) => each.startsWith("."))).toEqual([]);
    const one = await convert({ from: join(from, "data", "train-00000-of-00001.parquet"), format });
    expect(images(await contents(await open(one.output)))).toEqual(images(expected));
  });

  test("tables beside their images, other column names, and only the first rows", async () => {
    const from = await scratch.folder({
      "pairs.csv": "before_file_name,what,after_file_name,source\na.png,make it red,b.webp,me\nb.webp,back,a.png,\n",
      "a.png": picture("0_i.png"),
      "b.webp": picture("0_e.webp"),
    });
    const columns = { originalImageColumn: "before", editedImageColumn: "after", editPromptColumn: "what" };
    const { output, made } = await convert({ from: join(from, "pairs.csv"), format, ...columns, count: 1 });
    expect(made.rows).toBe(1);
    const [row, ...others] = await contents(await open(output));
    expect(others).toEqual([]);
    expect(row).toMatchObject({ prompt: "make it red", texts: { source: "me" } });
    expect(row!.after.equals(readFileSync(join(from, "b.webp")))).toBe(true);
  });

  test("there and back gives the same files", async () => {
    const there = await convert({ from: MIXED, format });
    const back = await convert({ from: there.output, format: format === "folder" ? "parquet" : "folder" });
    expect(await contents(await open(back.output))).toEqual(await contents(await open(there.output)));
  });

  test("rows that cannot be used are named, or left out and counted", async () => {
    const from = await scratch.folder({
      "metadata.jsonl":
        line("a.png", "a.png", "stays") +
        line("a.png", "missing.png", "x") +
        line("text.png", "a.png", "x") +
        line("a.png", "a.png", null),
      "a.png": picture("0_i.png"),
      "text.png": "this is no image",
    });
    const output = scratch.path();
    await expect(convertDataset({ from, format, output })).rejects.toMatchObject({
      code: "ERR_DATASET",
      message: expect.stringMatching(/^metadata\.jsonl, line 2: .*missing\.png/),
    });
    expect(existsSync(output)).toBe(false);
    const reasons: string[] = [];
    const { made } = await convert({ from, format, skipUnusable: true, onSkip: (reason) => reasons.push(reason) });
    expect(made).toMatchObject({ rows: 1, skippedRows: 3 });
    expect(reasons.map((reason) => reason.slice(0, 23))).toEqual([2, 3, 4].map((n) => `metadata.jsonl, line ${n}:`));
  });
});

test("columns that have no place are named", async () => {
  const from = await scratch.folder({
    "metadata.jsonl": `${JSON.stringify({
      ...{ input_image_file_name: "a.png", edited_image_file_name: "a.png", edit_prompt: "x", mask_file_name: "a.png" },
      ...{ tags: ["a", "b"], score: 0.5 },
    })}\n`,
    "a.png": picture("0_i.png"),
  });
  const { output, made } = await convert({ from, format: "folder" });
  expect(made.leftOutColumns).toEqual(["mask", "tags"]);
  expect(JSON.parse(readFileSync(join(output, "metadata.jsonl"), "utf8"))).toEqual({
    ...{ input_image_file_name: "images/0000/0000000_before.png", edit_prompt: "x" },
    ...{ edited_image_file_name: "images/0000/0000000_after.png", score: "0.5" },
  });
});

test("nothing is overwritten, and what is no data set is refused by name", async () => {
  const output = await scratch.folder({ "mine.txt": "mine" });
  await expect(convertDataset({ from: MIXED, format: "folder", output })).rejects.toMatchObject({ code: "ERR_IO" });
  expect(readdirSync(output)).toEqual(["mine.txt"]);
  const refused = (from: string, code: string) =>
    expect(convertDataset({ from, format: "folder", output: scratch.path() })).rejects.toMatchObject({ code });
  await refused(join(output, "none"), "ERR_FILE_NOT_FOUND");
  await refused(join(output, "mine.txt"), "ERR_DATASET");
  await refused(output, "ERR_DATASET");
});

test("stops when it is asked to", async () => {
  const output = scratch.path();
  const stop = new AbortController();
  const conversion = convertDataset({
    ...{ from: MIXED, format: "parquet", output, signal: stop.signal },
    onProgress: () => stop.abort(),
  });
  await expect(conversion).rejects.toMatchObject({ code: "ERR_ABORTED" });
  expect(existsSync(output)).toBe(false);
});

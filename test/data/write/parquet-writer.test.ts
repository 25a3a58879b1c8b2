import { readdirSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { EditRow } from "../../../lib/data/write/edit-writer.js";
import { ParquetEditWriter } from "../../../lib/data/write/parquet-writer.js";
import { useScratch } from "../helpers.js";

const scratch = useScratch();

const rowOf = (i: number): EditRow => ({
  before: Buffer.alloc(1000, i),
  after: Buffer.alloc(500 + i, i + 1),
  prompt: `instruction ${i}, größer`,
  texts: { family: `family ${i % 3}` },
});

test("files of bounded size hold all rows in their order, and say how many files there are", async () => {
  const folder = scratch.path();
  await mkdir(folder);
  {
    await using writer = await ParquetEditWriter.create(folder, 300_000);
    for (let i = 0; i < 450; i++) await writer.write(rowOf(i));
    await writer.finish();
  }
  expect(readdirSync(join(folder, "data")).sort()).toEqual([0, 1, 2].map((n) => `train-0000${n}-of-00003.parquet`));
  const dataset = await scratch.open({ trainDataDir: folder });
  expect(dataset.length).toBe(450);
  expect(dataset.columns).toEqual(["input_image", "edit_prompt", "edited_image", "family"]);
  for (const i of [0, 99, 100, 199, 200, 399, 449]) {
    const { original, edited, prompt } = await dataset.row(i);
    expect(prompt).toBe(rowOf(i).prompt);
    expect(Buffer.compare((original as { bytes: Uint8Array }).bytes, rowOf(i).before)).toBe(0);
    expect(Buffer.compare((edited as { bytes: Uint8Array }).bytes, rowOf(i).after)).toBe(0);
  }
  await dataset.close();
});

test("unfinished files have names that readers ignore", async () => {
  const folder = scratch.path();
  await mkdir(folder);
  {
    await using writer = await ParquetEditWriter.create(folder, 100_000);
    for (let i = 0; i < 250; i++) await writer.write(rowOf(i));
  }
  await expect(scratch.open({ trainDataDir: folder })).rejects.toMatchObject({ code: "ERR_DATASET" });
});

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { chooseTrainFiles } from "../../lib/data/data-files.js";
import { readConfigs } from "../../lib/data/dataset-card.js";
import { fixture, readJson } from "../helpers/fixtures.js";
import { loadAll, MIXED, MIXED_LENGTH, MIXED_RESOLUTION, promptsOf, useScratch } from "./helpers.js";

const scratch = useScratch();
const PIXELS = readFileSync(fixture("data", "mixed", "pixels.bin"));
const PICTURE_BYTES = MIXED_RESOLUTION ** 2 * 3;
const LOSSY = /\.jpg$/;

describe("images", () => {
  test("have the pixels that the datasets library and the script give, for every format, shape and orientation", async () => {
    const dataset = await scratch.open({ trainDataDir: MIXED });
    const { originals, edited } = await loadAll(dataset);
    const actual = Buffer.concat([originals, edited]);
    expect(actual.length).toBe(PIXELS.length);
    for (let i = 0; i < 2 * MIXED_LENGTH; i++) {
      const row = await dataset.row(i % MIXED_LENGTH);
      const { path } = (i < MIXED_LENGTH ? row.original : row.edited) as { path: string };
      const range = [i * PICTURE_BYTES, (i + 1) * PICTURE_BYTES] as const;
      const differences = actual.subarray(...range).map((value, k) => Math.abs(value - PIXELS[range[0] + k]!));
      expect(Math.max(...differences), path).toBeLessThanOrEqual(LOSSY.test(path) ? 2 : 0);
    }
  });
});

describe("parquet", () => {
  const files = readdirSync(fixture("data", "mixed", "parquet"));
  test.each(files)("%s gives the rows of the image folder", async (name) => {
    const folder = await scratch.open({ trainDataDir: MIXED });
    const copy = { copy: fixture("data", "mixed", "parquet", name) };
    const dataset = await scratch.open({
      datasetName: await scratch.folder({ "data/train-00000-of-00001.parquet": copy }),
    });
    expect(dataset.columns).toEqual(["input_image", "id", "edited_image", "edit_prompt"]);
    expect(await promptsOf(dataset)).toEqual(await promptsOf(folder));
    const [expected, actual] = [await loadAll(folder), await loadAll(dataset)];
    expect(Buffer.compare(actual.originals, expected.originals)).toBe(0);
    expect(Buffer.compare(actual.edited, expected.edited)).toBe(0);
    await dataset.close();
  });

  test("in several files continues from one to the next, by their names", async () => {
    const parquet = (name: string) => ({ copy: fixture("data", "mixed", "parquet", name) });
    const root = await scratch.folder({
      "data/train-00001-of-00002.parquet": parquet("zstd-small-groups.parquet"),
      "data/train-00000-of-00002.parquet": parquet("uncompressed.parquet"),
      "data/test-00000-of-00001.parquet": parquet("snappy.parquet"),
    });
    const dataset = await scratch.open({ trainDataDir: root });
    expect(dataset.length).toBe(2 * MIXED_LENGTH);
    expect(dataset.describe(MIXED_LENGTH + 1)).toBe("data/train-00001-of-00002.parquet, row 1");
    const prompts = await promptsOf(dataset);
    expect(prompts.slice(0, MIXED_LENGTH)).toEqual(prompts.slice(MIXED_LENGTH));
    await dataset.close();
  });
});

describe.each(["script-basic", "script-full"])("the data of %s", (name) => {
  test("are the same rows from the image folder and from the parquet that names its images", async () => {
    const folder = await scratch.open({ trainDataDir: fixture(name, "dataset") });
    const parquet = await scratch.open({ datasetName: fixture(name, "parquet") });
    const [expected, actual] = [await loadAll(folder), await loadAll(parquet)];
    expect(expected.prompts).toHaveLength(folder.length);
    expect(actual.prompts).toEqual(expected.prompts);
    expect(Buffer.compare(actual.originals, expected.originals)).toBe(0);
    expect(Buffer.compare(actual.edited, expected.edited)).toBe(0);
    const metadata = readFileSync(fixture(name, "dataset", "metadata.jsonl"), "utf8")
      .trim()
      .split("\n");
    expect(actual.prompts).toEqual(metadata.map((row) => JSON.parse(row).edit_prompt));
    await parquet.close();
  });
});

describe("the files of the split train", () => {
  interface Layout {
    files: string[];
    readme: string | null;
    config: string | null;
    train: string[] | null;
  }

  test("are those that load_dataset takes, in its order", async () => {
    const layouts = readJson<Layout[]>(fixture("data", "layouts.json"));
    let found = 0;
    for (const { files, readme, config, train } of layouts) {
      const root = await scratch.folder(readme === null ? {} : { "README.md": readme });
      const configs = await readConfigs(
        async (name) => (name === "README.md" && readme ? join(root, name) : undefined),
        root,
      );
      const choose = () => chooseTrainFiles(files, configs, config ?? undefined, "the dataset");
      const what = JSON.stringify({ files, readme, config });
      if (train === null) expect(choose, what).toThrow(expect.objectContaining({ code: "ERR_DATASET" }));
      else expect(choose(), what).toEqual({ format: "parquet", names: train });
      if (train) found++;
    }
    expect(found).toBeGreaterThan(50);
  });

  test("may be a configuration that is a folder, as in the hub's conversions", () => {
    const files = ["one/train/0000.parquet", "two/train/0000.parquet", "two/train/0001.parquet"];
    expect(chooseTrainFiles(files, [], "two", "x").names).toEqual(["two/train/0000.parquet", "two/train/0001.parquet"]);
  });

  test("an unusable dataset is named", () => {
    const refused = (files: string[], message: RegExp) =>
      expect(() => chooseTrainFiles(files, [], undefined, "x")).toThrow(
        expect.objectContaining({ code: "ERR_DATASET", message: expect.stringMatching(message) }),
      );
    refused([], /holds no data files/);
    refused(["README.md", ".gitattributes"], /holds no data files/);
    refused(["data-00000-of-00001.arrow", "state.json"], /\.arrow.*to_parquet/);
    refused(["a.tar"], /neither parquet files nor images.*"\.tar"/);
    refused(["test/0.parquet"], /no split "train", only "test"/);
  });
});

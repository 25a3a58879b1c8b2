import { existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { openDataset } from "../../lib/data/open-dataset.js";
import { loadImage } from "../../lib/images/index.js";
import { Album } from "../../lib/photos/album.js";
import { makePhotoDataset } from "../../lib/photos/dataset.js";
import { photoExample } from "../../lib/photos/example.js";
import { PHOTO_FAMILIES } from "../../lib/photos/families/index.js";
import { imageOf, type Photo } from "../../lib/photos/pixels.js";
import { findPhotos, isHeldOut } from "../../lib/photos/sources.js";
import { useScratch } from "../data/helpers.js";
import { landscape } from "./scene.js";

const scratch = useScratch();
const NAMES = ["a.png", "b.jpg", "more/c.webp", "more/d.png"];
let photos: string;

/** Another landscape: the channels change places. */
function variant({ width, height, data }: Photo, by: number): Photo {
  const at = (i: number) => data[i - (i % 3) + ((i + by) % 3)]! * (1 - 0.1 * Math.floor(by / 3));
  return { width, height, data: data.map((_, i) => at(i)) };
}

beforeAll(async () => {
  const made = await Promise.all(
    NAMES.map(async (name, i) => {
      const image = imageOf(variant(landscape(72 + 8 * i, 64), i));
      return [name, await image.encode(name.split(".").at(-1) as "png")] as const;
    }),
  );
  photos = await scratch.folder({ ...Object.fromEntries(made), ".hidden/e.png": made[0]![1], "notes.txt": "none" });
});

const lines = (folder: string): Record<string, string>[] =>
  readFileSync(join(folder, "metadata.jsonl"), "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));

/** Every file of a folder with its bytes. */
const contents = (folder: string): Record<string, string> =>
  Object.fromEntries(
    readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name))
      .sort()
      .map((path) => [path.slice(folder.length), readFileSync(path, "base64")]),
  );

const small = { count: 6, resolution: 32 } as const;

describe.each(["folder", "parquet"] as const)("a data set as %s", (format) => {
  test("holds the examples of its seed, for training to read", async () => {
    const output = scratch.path();
    const seen: string[] = [];
    const result = await makePhotoDataset({
      ...{ ...small, photos, output, format, seed: 3 },
      onProgress: ({ stage, done, total }) => seen.push(`${stage} ${done}/${total}`),
    });
    expect(result).toEqual({ rows: 6, photos: 4, otherPhotos: 0, unusable: [] });
    expect(seen).toEqual([
      ...[1, 2, 3, 4].map((done) => `checking ${done}/4`),
      ...[1, 2, 3, 4, 5, 6].map((done) => `making ${done}/6`),
    ]);
    const dataset = await openDataset({ trainDataDir: output, cacheDir: scratch.cacheDir, strict: true });
    expect(dataset.columns).toEqual([
      ...["input_image", "edit_prompt", "edited_image", "original_prompt", "edited_prompt", "family", "photo"],
    ]);
    const album = new Album(photos, (await findPhotos(photos, 32)).usable, 32);
    for (let index = 0; index < 6; index++) {
      const { original, edited, prompt } = await dataset.row(index);
      const example = await photoExample(album, 3, index);
      expect(prompt).toBe(example.edit.instruction);
      for (const [stored, image] of [
        [original, example.before],
        [edited, example.after],
      ] as const)
        expect((await loadImage("path" in stored ? stored.path : Buffer.from(stored.bytes))).equals(image)).toBe(true);
    }
    await dataset.close();
  });

  test("goes on after an interruption, and ends with the same bytes as without one", async () => {
    const [whole, broken] = [scratch.path(), scratch.path()];
    const options = { ...small, count: 70, resolution: 16, photos, format, families: ["negative", "frame"] } as const;
    await makePhotoDataset({ ...options, output: whole });
    const stop = new AbortController();
    const first = makePhotoDataset({
      ...{ ...options, output: broken, signal: stop.signal },
      onProgress: ({ stage, done }) => {
        if (stage === "making" && done === 57) stop.abort();
      },
    });
    await expect(first).rejects.toMatchObject({ code: "ERR_ABORTED" });
    expect(existsSync(broken)).toBe(false);
    const partial = join(broken, "..", `.${broken.split("/").at(-1)}.partial`);
    // What a killed process leaves: half a line at the end.
    await writeFile(join(partial, "rows", "metadata.jsonl"), '{"input_image_fi', { flag: "a" });
    const other = makePhotoDataset({ ...options, output: broken, seed: 1 });
    await expect(other).rejects.toMatchObject({ code: "ERR_IO", message: expect.stringContaining("other options") });
    const made: number[] = [];
    const resumed: number[] = [];
    await makePhotoDataset({
      ...{ ...options, output: broken, onResume: (rows: number) => resumed.push(rows) },
      onProgress: ({ stage, done }) => stage === "making" && made.push(done),
    });
    expect(resumed).toEqual([57]);
    expect(made).toEqual(Array.from({ length: 13 }, (_, i) => 58 + i));
    expect(contents(broken)).toEqual(contents(whole));
    expect(existsSync(partial)).toBe(false);
  });
});

test("another seed gives other pairs, and a larger count begins with the same", async () => {
  const [one, other, longer] = [scratch.path(), scratch.path(), scratch.path()];
  await makePhotoDataset({ ...small, photos, output: one });
  await makePhotoDataset({ ...small, photos, output: other, seed: 1 });
  await makePhotoDataset({ ...small, photos, output: longer, count: 8 });
  expect(lines(longer).slice(0, 6)).toEqual(lines(one));
  expect(lines(other)).not.toEqual(lines(one));
});

test("photographs are held out by whole file, whatever their names", async () => {
  const { usable } = await findPhotos(photos, 32);
  const share = 0.5;
  const held = usable.filter((photo) => isHeldOut(photo, share)).map(({ name }) => name);
  expect(held.length % 4).not.toBe(0);
  const [train, test] = [scratch.path(), scratch.path()];
  await makePhotoDataset({ ...small, count: 16, photos, output: train, heldOut: share });
  await makePhotoDataset({ ...small, count: 16, photos, output: test, heldOut: share, onlyHeldOut: true });
  for (const { photo } of lines(train)) expect(held).not.toContain(photo);
  for (const { photo } of lines(test)) expect(held).toContain(photo);
  const [{ sha256 } = { sha256: "" }] = usable;
  expect(isHeldOut({ name: "other", sha256 }, share)).toBe(isHeldOut(usable[0]!, share));
});

test("families take turns, and one that finds no place leaves its turn to the next", async () => {
  const output = scratch.path();
  await makePhotoDataset({ ...small, photos, output, families: ["negative", "sepia"] });
  expect(lines(output).map(({ family }) => family)).toEqual([
    "negative",
    "sepia",
    "negative",
    "sepia",
    "negative",
    "sepia",
  ]);
  const grey = await scratch.folder({
    "grey.png": await imageOf({ width: 40, height: 40, data: new Float32Array(4800).fill(0.3) }).encode("png"),
  });
  const next = scratch.path();
  await makePhotoDataset({ ...small, count: 2, photos: grey, output: next, families: ["recolour", "brighter"] });
  expect(lines(next).map(({ family }) => family)).toEqual(["brighter", "brighter"]);
  const none = makePhotoDataset({ ...small, photos: grey, output: scratch.path(), families: ["recolour"] });
  await expect(none).rejects.toMatchObject({
    code: "ERR_DATASET",
    message: expect.stringContaining("no edits of recolour"),
  });
});

test("what cannot be used is named before work begins, and left out", async () => {
  const png = readFileSync(join(photos, "a.png"));
  const folder = await scratch.folder({
    "good.png": png,
    "cut.png": png.subarray(0, 300),
    "words.jpg": "no image",
    "tiny.png": await imageOf(landscape(20)).encode("png"),
  });
  const seen: string[] = [];
  const { unusable, photos: used } = await makePhotoDataset({
    ...{ ...small, photos: folder, output: scratch.path() },
    onUnusable: ({ name }) => seen.push(name),
  });
  expect(used).toBe(1);
  expect(seen).toEqual(["cut.png", "tiny.png", "words.jpg"]);
  expect(unusable.map(({ reason }) => reason)).toEqual([
    expect.stringContaining("cannot be decoded"),
    expect.stringContaining("is too small: 20×20"),
    expect.stringContaining("not an image"),
  ]);
});

test.each([
  ["no such folder", { photos: "/no/such/folder" }, "ERR_FILE_NOT_FOUND", /does not exist/],
  ["a size that no photograph has", { resolution: 512 }, "ERR_DATASET", /none of the 4 photographs.*too small/],
  ["a name of Python's", { output_dir: "x" }, "ERR_INVALID_ARGUMENT", /output_dir/],
  ["an unknown family", { families: ["fly"] }, "ERR_INVALID_ARGUMENT", /"fly"; known: black_and_white/],
  ["a size of nothing", { resolution: 0 }, "ERR_INVALID_ARGUMENT", /resolution/],
  ["half a pair", { count: 0.5 }, "ERR_INVALID_ARGUMENT", /count/],
  ["all held out", { heldOut: 1 }, "ERR_INVALID_ARGUMENT", /heldOut/],
  ["none held out", { heldOut: 1e-9, onlyHeldOut: true }, "ERR_DATASET", /larger share/],
  ["a test set without a share", { onlyHeldOut: true }, "ERR_INVALID_ARGUMENT", /heldOut/],
  ["another format", { format: "csv" }, "ERR_INVALID_ARGUMENT", /folder, parquet/],
])("refuses %s, and writes nothing", async (_, options, code, message) => {
  const output = scratch.path();
  const made = makePhotoDataset({ ...small, photos, output, ...(options as object) });
  await expect(made).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
  expect(existsSync(output)).toBe(false);
});

test("refuses a folder without photographs, and an output that holds something", async () => {
  const empty = scratch.path();
  mkdirSync(empty);
  await expect(makePhotoDataset({ photos: empty, output: scratch.path() })).rejects.toMatchObject({
    ...{ code: "ERR_DATASET", message: expect.stringContaining("holds no photographs") },
  });
  await expect(makePhotoDataset({ photos, output: photos })).rejects.toMatchObject({ code: "ERR_IO" });
  expect(PHOTO_FAMILIES.length).toBeGreaterThanOrEqual(25);
});

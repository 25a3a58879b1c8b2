import { beforeAll, expect, test } from "vitest";
import { RgbImage } from "../../lib/images/index.js";
import { Album } from "../../lib/photos/album.js";
import { imageOf } from "../../lib/photos/pixels.js";
import { decibels, type JudgedPhoto, judgedPhoto, photoTable, summarisePhotos } from "../../lib/photos/score.js";
import { findPhotos } from "../../lib/photos/sources.js";
import { useScratch } from "../data/helpers.js";
import { landscape } from "./scene.js";

const scratch = useScratch();
const SIZE = 32;
let examples: JudgedPhoto[];

beforeAll(async () => {
  const photos = await scratch.folder({ "a.png": await imageOf(landscape(80, 64)).encode("png") });
  const { usable } = await findPhotos(photos, SIZE);
  const album = new Album(photos, usable, SIZE);
  examples = await Promise.all(Array.from({ length: 10 }, (_, i) => judgedPhoto(album, 7, 4 * i)));
  const { judge: _, ...again } = await judgedPhoto(album, 7, 4);
  expect(examples[1]).toMatchObject(again);
});

test("an exact result succeeds, and the original, a rival, noise and grey do not", () => {
  for (const example of examples) {
    const { original, target, rivals, instruction } = example;
    expect(rivals, instruction).toHaveLength(15);
    expect(example.judge.score(target), instruction).toEqual({ success: true, error: 0 });
    const noise = Uint8Array.from({ length: original.data.length }, (_, i) => (i * 7919) % 256);
    for (const data of [original.data, rivals[3]!, noise, new Uint8Array(original.data.length).fill(128)])
      expect(example.judge.score(new RgbImage(SIZE, SIZE, data)).success, instruction).toBe(false);
  }
});

test("a result that is a little off succeeds, with its error", () => {
  const [example] = examples;
  const data = example!.target.data.map((level) => (level > 127 ? level - 2 : level + 2));
  expect(example!.judge.score(new RgbImage(SIZE, SIZE, data))).toEqual({
    success: true,
    error: expect.closeTo((2 / 255) ** 2, 10),
  });
});

test("scores are summarised by family, and put in a table", () => {
  const of = (family: "night" | "sepia", success: boolean, error: number) => ({ family, success, error, bound: 1e-3 });
  const summary = summarisePhotos([of("night", true, 1e-2), of("night", false, 1e-4), of("sepia", true, 0)]);
  expect(summary.families.night).toEqual({ success: 0.5, count: 2, psnr: 30, bound: expect.closeTo(30, 9) });
  expect(summary).toMatchObject({ success: 2 / 3, count: 3 });
  expect(decibels(0)).toBe(100);
  expect(photoTable(summary)).toMatch(
    /^family +success +count +PSNR +bound\n─+\n.*night +50\.0 % +2 +30\.0 dB +30\.0 dB\n/s,
  );
});

import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { type ResampleFilter, RgbImage } from "../../lib/images/index.js";
import { native } from "../../lib/runtime/native.js";
import { expectError, noise, readJson } from "./fixtures.js";

interface RecordedResize {
  filter: ResampleFilter;
  seed: number;
  hard: boolean;
  channels: number;
  from: [width: number, height: number];
  to: [width: number, height: number];
  sha256: string;
}

describe("the native resampler gives Pillow's bytes", () => {
  const cases = readJson<RecordedResize[]>("resize.json");
  it.each(cases)("$filter $channels×$from → $to", async ({ filter, seed, hard, channels, from, to, sha256 }) => {
    const drawn = noise(seed, from[0] * from[1] * channels);
    const source = hard ? drawn.map((value) => (value > 127 ? 255 : 0)) : drawn;
    const result = await native().resize(source, ...from, channels, ...to, filter, false);
    expect(result.length).toBe(to[0] * to[1] * channels);
    expect(createHash("sha256").update(result).digest("hex")).toBe(sha256);
  });
});

describe("RgbImage.resize", () => {
  const image = new RgbImage(20, 14, noise(1, 20 * 14 * 3));

  it("keeps a uniform image uniform with every filter", async () => {
    const flat = new RgbImage(9, 7, new Uint8Array(9 * 7 * 3).fill(200));
    for (const filter of ["box", "bilinear", "hamming", "bicubic", "lanczos"] as const)
      for (const [width, height] of [
        [3, 2],
        [31, 40],
        [1, 50],
      ] as const) {
        const { data } = await flat.resize(width, height, filter);
        expect(new Set(data)).toEqual(new Set([200]));
      }
  });

  it("keeps the pixels if the size does not change", async () => {
    expect((await image.resize(20, 14)).equals(image)).toBe(true);
  });

  it("does not change the source, and gives the same result while another resize runs", async () => {
    const before = image.data.slice();
    const both = await Promise.all([image.resize(11, 9), image.resize(11, 9), image.resize(40, 9, "bicubic")]);
    expect(both[0].equals(both[1])).toBe(true);
    expect(image.data).toEqual(before);
  });

  it.each([
    [0, 5],
    [5, -1],
    [1.5, 5],
    [5, Number.NaN],
    [2 ** 31, 5],
  ])("refuses %s×%s", async (width, height) => {
    await expectError(image.resize(width, height), "ERR_INVALID_ARGUMENT", /(width|height) is a whole number/);
  });

  it("copies the pixels before it returns: they may be changed or transferred at once", async () => {
    const pixels = noise(2, 300 * 200 * 3);
    const expected = await new RgbImage(300, 200, pixels).resize(40, 30, "bicubic");
    const changed = Uint8Array.from(pixels);
    const transferred = Uint8Array.from(pixels);
    const results = [changed, transferred].map((data) => new RgbImage(300, 200, data).resize(40, 30, "bicubic"));
    changed.fill(0);
    structuredClone(transferred.buffer, { transfer: [transferred.buffer] });
    expect(transferred.length).toBe(0);
    for (const result of await Promise.all(results)) expect(result.data).toEqual(expected.data);
  });

  it("refuses an unknown filter", async () => {
    await expectError(image.resize(5, 5, "cubic" as ResampleFilter), "ERR_INVALID_ARGUMENT", /"cubic".*bicubic/);
  });
});

describe("RgbImage.toMultipleOf", () => {
  it("rounds each side down and resizes with Lanczos", async () => {
    const image = new RgbImage(71, 51, noise(3, 71 * 51 * 3));
    const result = await image.toMultipleOf(8);
    expect([result.width, result.height]).toEqual([64, 48]);
    expect(result.equals(await image.resize(64, 48, "lanczos"))).toBe(true);
  });

  it("keeps an image that fits", async () => {
    const image = new RgbImage(16, 8, noise(4, 16 * 8 * 3));
    expect((await image.toMultipleOf(8)).equals(image)).toBe(true);
  });

  it("refuses an image smaller than the factor, naming both", async () => {
    const image = new RgbImage(40, 7, noise(5, 40 * 7 * 3));
    await expectError(image.toMultipleOf(8), "ERR_IMAGE", /40×7.*at least 8/);
  });
});

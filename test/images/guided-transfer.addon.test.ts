import { describe, expect, it } from "vitest";
import { InstructPix2PixError } from "../../lib/core/errors.js";
import { RgbImage as Rgb, type RgbImage, type TransferOptions, transferEdit } from "../../lib/images/index.js";
import { Random } from "../../lib/world/random.js";

/** Clouds of colour whose contrast falls with their size, as that of photographs does. */
function landscape(width: number, height: number, seed: number): RgbImage {
  const random = new Random(seed, 0);
  const values = new Float32Array(width * height * 3).fill(128);
  for (let cells = 2; cells <= Math.max(width, height); cells *= 2) {
    const grid = Array.from({ length: (cells + 1) * (cells + 1) * 3 }, () => random.float() - 0.5);
    for (let i = 0; i < values.length; i++) {
      const [x, y] = [((Math.floor(i / 3) % width) * cells) / width, (Math.floor(i / 3 / width) * cells) / height];
      const [left, top] = [Math.floor(x), Math.floor(y)];
      const at = (u: number, v: number) => grid[3 * (v * (cells + 1) + u) + (i % 3)]!;
      const above = at(left, top) + (at(left + 1, top) - at(left, top)) * (x - left);
      const below = at(left, top + 1) + (at(left + 1, top + 1) - at(left, top + 1)) * (x - left);
      values[i]! += (100 / Math.sqrt(cells)) * (above + (below - above) * (y - top));
    }
  }
  return new Rgb(width, height, new Uint8Array(Uint8ClampedArray.from(values).buffer));
}

/** Each pixel's new colour, rounded and kept within 0..255. */
function recoloured(image: RgbImage, colour: (rgb: number[], x: number, y: number) => number[]): RgbImage {
  const data = new Uint8ClampedArray(image.data.length);
  for (let i = 0; i < image.data.length; i += 3) {
    const at = i / 3;
    const place = [
      ((at % image.width) + 0.5) / image.width,
      (Math.floor(at / image.width) + 0.5) / image.height,
    ] as const;
    data.set(colour([...image.data.subarray(i, i + 3)], ...place), i);
  }
  return new Rgb(image.width, image.height, new Uint8Array(data.buffer));
}

const farthest = (a: RgbImage, b: RgbImage) =>
  a.data.reduce((most, value, i) => Math.max(most, Math.abs(value - b.data[i]!)), 0);
const meanSquare = (a: RgbImage, b: RgbImage) =>
  a.data.reduce((sum, value, i) => sum + (value - b.data[i]!) ** 2, 0) / a.data.length;

/** Solves a system by Gaussian elimination. */
function solve(matrix: number[][], right: number[]): number[] {
  const rows = matrix.map((row, i) => [...row, right[i]!]);
  for (let k = 0; k < rows.length; k++)
    for (let i = 0; i < rows.length; i++) {
      if (i === k) continue;
      const factor = rows[i]![k]! / rows[k]![k]!;
      rows[i] = rows[i]!.map((value, j) => value - factor * rows[k]![j]!);
    }
  return rows.map((row, k) => row.at(-1)! / row[k]!);
}

/** The guided filter as its paper defines it, window by window, for images of one size. */
function byDefinition(guide: RgbImage, edited: RgbImage, radius: number, epsilon: number): number[] {
  const { width, height } = guide;
  const windowOf = (x: number, y: number) => {
    const inside: number[] = [];
    for (let v = Math.max(0, y - radius); v <= Math.min(height - 1, y + radius); v++)
      for (let u = Math.max(0, x - radius); u <= Math.min(width - 1, x + radius); u++) inside.push(v * width + u);
    return inside;
  };
  const pixel = ({ data }: RgbImage, i: number) => [data[3 * i]! / 255, data[3 * i + 1]! / 255, data[3 * i + 2]! / 255];
  const mean = (values: number[][]) =>
    values[0]!.map((_, k) => values.reduce((sum, v) => sum + v[k]!, 0) / values.length);
  const all = Array.from({ length: width * height }, (_, i) => windowOf(i % width, Math.floor(i / width)));
  // For each window and output channel: three factors and an offset.
  const functions = all.map((inside) => {
    const from = inside.map((i) => pixel(guide, i));
    const to = inside.map((i) => pixel(edited, i));
    const [m, p] = [mean(from), mean(to)];
    const covariance = [0, 1, 2].map((a) =>
      [0, 1, 2].map((b) => mean(from.map((v) => [(v[a]! - m[a]!) * (v[b]! - m[b]!)]))[0]! + (a === b ? epsilon : 0)),
    );
    return [0, 1, 2].map((c) => {
      const shared = [0, 1, 2].map((a) => mean(from.map((v, k) => [(v[a]! - m[a]!) * (to[k]![c]! - p[c]!)]))[0]!);
      const factors = solve(covariance, shared);
      return [...factors, p[c]! - factors.reduce((sum, factor, a) => sum + factor * m[a]!, 0)];
    });
  });
  return all.flatMap((inside, i) =>
    [0, 1, 2].map((c) => {
      const f = mean(inside.map((j) => functions[j]![c]!));
      return 255 * (pixel(guide, i).reduce((sum, value, a) => sum + value * f[a]!, 0) + f[3]!);
    }),
  );
}

describe("transferEdit", () => {
  it.each([
    [1, 1e-4],
    [2, 1e-2],
    [9, 1e-3],
  ])(
    "is the guided filter of its paper for images of one size, with radius %d and epsilon %d",
    async (radius, epsilon) => {
      const guide = landscape(11, 7, 1);
      const edited = recoloured(landscape(11, 7, 2), ([r, g, b], x) => [r! * x, 255 - g!, b!]);
      const { data } = await transferEdit(guide, edited, { radius, epsilon });
      const expected = byDefinition(guide, edited, radius, epsilon);
      for (const [i, value] of expected.entries())
        expect(Math.abs(data[i]! - Math.min(Math.max(value, 0), 255))).toBeLessThanOrEqual(0.51);
    },
  );

  it("gives the original of an edit that changes nothing, with its grain", async () => {
    const original = landscape(160, 96, 3);
    const same = await transferEdit(original, await original.resize(40, 24), { epsilon: 1e-9 });
    expect(farthest(same, original)).toBeLessThanOrEqual(1);
  });

  it("carries colours and light over with the grain, also where they depend on the place", async () => {
    const original = landscape(160, 96, 4);
    const edits = {
      sepia: ([r, g, b]: number[]) => [0.39, 0.35, 0.27].map((f) => f * (r! + 0.9 * g! + 0.3 * b!)),
      negative: (rgb: number[]) => rgb.map((value) => 255 - value),
      shade: (rgb: number[], x: number, y: number) => rgb.map((value) => value * (1 - 0.2 * ((x - 0.5) ** 2 + y ** 2))),
    };
    for (const edit of Object.values(edits)) {
      const target = recoloured(original, edit);
      const reduced = recoloured(await original.resize(40, 24), edit);
      const carried = meanSquare(await transferEdit(original, reduced), target);
      const enlarged = meanSquare(await reduced.resize(160, 96, "bicubic"), target);
      expect(carried).toBeLessThan(enlarged / 4);
    }
  });

  it("works with other proportions and single pixels", async () => {
    const original = landscape(33, 9, 5);
    for (const [width, height] of [
      [8, 16],
      [1, 1],
      [33, 1],
      [64, 64],
    ] as const) {
      const carried = await transferEdit(original, landscape(width, height, 6));
      expect([carried.width, carried.height]).toEqual([33, 9]);
    }
    expect((await transferEdit(landscape(1, 1, 7), landscape(5, 5, 8))).data).toHaveLength(3);
  });

  it("lets the event loop run, once for every few rows", async () => {
    const original = new Rgb(2000, 1000, new Uint8Array(6_000_000).fill(100));
    const turns = async (edited: RgbImage) => {
      let [count, done] = [0, false];
      const next = () => {
        count++;
        if (!done) setImmediate(next);
      };
      setImmediate(next);
      await transferEdit(original, edited);
      done = true;
      return count;
    };
    // 33 planes are averaged, and each of the 1000 rows counts as 16,000 pixels.
    expect(await turns(new Rgb(20, 10, new Uint8Array(600)))).toBeGreaterThan(33 + 60);
  });

  it.each<[string, unknown[], RegExp]>([
    ["no image", [{}, landscape(2, 2, 1)], /^original must be an RgbImage/],
    ["no edit", [landscape(2, 2, 1), "edited.png"], /^edited must be an RgbImage/],
    ["a radius that is no number", [landscape(2, 2, 1), landscape(2, 2, 1), { radius: 0.5 }], /^radius must be/],
    ["an epsilon of 0", [landscape(2, 2, 1), landscape(2, 2, 1), { epsilon: 0 }], /^epsilon must be/],
    ["an unknown option", [landscape(2, 2, 1), landscape(2, 2, 1), { sigma: 1 }], /sigma/],
  ])("refuses %s", async (_, [original, edited, options], message) => {
    const failed = transferEdit(original as RgbImage, edited as RgbImage, options as TransferOptions);
    await expect(failed).rejects.toThrow(message);
    await expect(failed).rejects.toBeInstanceOf(InstructPix2PixError);
  });
});

import { expect, test } from "vitest";
import { cannyEdges } from "../../lib/images/canny.js";
import { loadImage, RgbImage } from "../../lib/images/index.js";
import { fixture, readJson } from "../helpers/fixtures.js";

interface Case {
  picture: string;
  low: number;
  high: number;
  l2: boolean;
  edges: string;
  count: number;
}

const { cases } = readJson<{ cases: Case[] }>(fixture("canny", "cases.json"));

test.each(cases)(
  "the edges of $image between $low and $high are OpenCV's",
  async ({ picture, low, high, l2, edges, count }) => {
    const found = await cannyEdges(fixture("canny", picture), low, high, { l2Gradient: l2 });
    const expected = await loadImage(fixture("canny", edges));
    expect([found.width, found.height]).toEqual([expected.width, expected.height]);
    expect(Buffer.compare(found.data, expected.data)).toBe(0);
    expect(found.data.filter((value) => value === 255)).toHaveLength(3 * count);
  },
);

test("images with and without edges are among them", () => {
  expect(cases.filter(({ count }) => count > 20).length).toBeGreaterThan(15);
  expect(cases.some(({ count }) => count === 0)).toBe(true);
});

test("the event loop goes on meanwhile, and a signal stops it", async () => {
  const [width, height] = [2400, 2000];
  const data = Uint8Array.from({ length: width * height * 3 }, (_, i) => (i * 2654435761) >>> 24);
  const image = new RgbImage(width, height, data);
  let ticks = 0;
  const ticking = setInterval(() => ticks++, 1);
  await cannyEdges(image, 100, 200);
  clearInterval(ticking);
  expect(ticks).toBeGreaterThan(0);
  const stop = new AbortController();
  const stopped = cannyEdges(image, 100, 200, { signal: stop.signal });
  stop.abort();
  await expect(stopped).rejects.toMatchObject({ code: "ERR_ABORTED" });
});

test.each([
  [[Number.NaN, 200], /lowThreshold must be a finite number, not NaN/],
  [[100, "200"], /highThreshold must be a finite number/],
])("refuses thresholds %j", async ([low, high], message) => {
  const refused = cannyEdges(fixture("canny", "pixel.png"), low as number, high as number);
  await expect(refused).rejects.toMatchObject({
    code: "ERR_INVALID_ARGUMENT",
    message: expect.stringMatching(message),
  });
});

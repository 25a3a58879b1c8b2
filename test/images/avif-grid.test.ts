import sharp from "sharp";
import { describe, expect, it } from "vitest";
import { loadImage } from "../../lib/images/index.js";
import { avifGrid, type Grid } from "./avif-grid.js";
import { expectError } from "./fixtures.js";

const TILE = 64;

/** Tiles of different colours and patterns, encoded one by one. */
async function tilesOf(count: number, chromaSubsampling: "4:4:4" | "4:2:0", width = TILE): Promise<Buffer[]> {
  const tiles: Buffer[] = [];
  for (let i = 0; i < count; i++) {
    const data = Buffer.alloc(width * TILE * 3);
    for (let at = 0; at < data.length; at++) {
      const [x, y, channel] = [Math.floor(at / 3) % width, Math.floor(at / 3 / width), at % 3];
      data[at] = (40 * i + [3 * x, 3 * y, x ^ y][channel]!) & 255;
    }
    const raw = { width, height: TILE, channels: 3 as const };
    tiles.push(await sharp(data, { raw }).avif({ chromaSubsampling, quality: 90, effort: 0 }).toBuffer());
  }
  return tiles;
}

function gridOf(columns: number, rows: number, more: Partial<Grid> = {}): Grid {
  const size = { width: columns * TILE, height: rows * TILE };
  return { columns, rows, ...size, tileWidth: TILE, tileHeight: TILE, ...more };
}

describe("an AVIF of tiles", () => {
  it.each<[string, "4:4:4" | "4:2:0", Grid]>([
    ["two by two", "4:4:4", gridOf(2, 2)],
    ["three by two, with subsampled colours", "4:2:0", gridOf(3, 2)],
    ["cut at its right and lower edge", "4:2:0", gridOf(3, 2, { width: 150, height: 90 })],
    ["of one tile", "4:4:4", gridOf(1, 1)],
  ])("is its tiles side by side: %s", async (_, chroma, grid) => {
    const tiles = await tilesOf(grid.columns * grid.rows, chroma);
    const { width, height, data } = await loadImage(avifGrid(tiles, grid));
    expect([width, height]).toEqual([grid.width, grid.height]);
    for (const [i, tile] of tiles.entries()) {
      const alone = await loadImage(tile);
      const [left, top] = [(i % grid.columns) * TILE, Math.floor(i / grid.columns) * TILE];
      for (let y = 0; y < TILE && top + y < height; y++) {
        const row = data.subarray(
          ((top + y) * width + left) * 3,
          ((top + y) * width + Math.min(width, left + TILE)) * 3,
        );
        expect(Buffer.compare(row, alone.data.subarray(y * TILE * 3, y * TILE * 3 + row.length)), `${i} ${y}`).toBe(0);
      }
    }
  });

  it.each<[string, (tiles: Buffer[], whole: Buffer) => Buffer, RegExp]>([
    ["a file that is cut off within its last tile", (_, whole) => whole.subarray(0, -20), /ends too early/],
    [
      "a file that is cut off within its first tile",
      (_, whole) => whole.subarray(0, whole.indexOf("mdat") + 40),
      /ends too early/,
    ],
    ["a tile too few", (tiles) => avifGrid(tiles.slice(1), gridOf(2, 2)), /cannot be decoded/],
    [
      "tiles of another size",
      (tiles) => avifGrid(tiles, gridOf(2, 2, { tileWidth: 32 })),
      /has a tile of 64×64 pixels where it says 32×64$/,
    ],
    [
      "tiles that do not fill their place",
      (tiles) => avifGrid(tiles, gridOf(2, 2, { width: 160, tileWidth: 80 })),
      /has a tile of 64×64 pixels where it says 80×64$/,
    ],
    ["tiles that do not cover it", (tiles) => avifGrid(tiles, gridOf(2, 2, { width: 400 })), /cannot be decoded/],
  ])("is refused with %s", async (_, change, message) => {
    const tiles = await tilesOf(4, "4:4:4");
    await expectError(loadImage(change(tiles, avifGrid(tiles, gridOf(2, 2)))), "ERR_IMAGE", message);
  });

  it("is refused with one tile that is smaller than the others", async () => {
    const tiles = await tilesOf(4, "4:4:4");
    const [small] = await tilesOf(1, "4:4:4", TILE / 2);
    await expectError(
      loadImage(avifGrid([...tiles.slice(0, 3), small!], gridOf(2, 2))),
      "ERR_IMAGE",
      /has a tile of 32×64 pixels where it says 64×64$/,
    );
  });
});

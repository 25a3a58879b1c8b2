import sharp from "sharp";
import { describe, expect, it } from "vitest";
import { loadImage } from "../../lib/images/index.js";
import { expectError, noise, recordedBytes, recordedPath, recordedPictures } from "./fixtures.js";

/** AV1 decoders round the conversion from YCbCr differently, and so does Pillow where it does not use libtiff. */
const tolerance = (file: string) => (file.endsWith(".avif") || file === "ycbcr-raw.tif" ? 1 : 0);

describe("an image has the pixels that Pillow's convert('RGB') gives, upright", () => {
  it.each(recordedPictures())("$file", async ({ file, width, height, rgb }) => {
    const image = await loadImage(recordedPath(file));
    expect([image.width, image.height]).toEqual([width, height]);
    const furthest = image.data.reduce((most, value, i) => Math.max(most, Math.abs(value - rgb[i]!)), 0);
    expect(image.data.length).toBe(rgb.length);
    expect(furthest).toBeLessThanOrEqual(tolerance(file));
  });
});

it("16-bit CMYK keeps the upper byte of each sample", async () => {
  const bytes = noise(2, 6 * 4 * 4);
  const tiff = tiff16(
    6,
    4,
    Uint16Array.from(bytes, (value) => value * 256 + 255),
  );
  expect(await sharp(tiff).metadata()).toMatchObject({ space: "cmyk", depth: "ushort" });
  const { data } = await loadImage(tiff);
  for (let i = 0; i < 24; i++)
    for (let c = 0; c < 3; c++) {
      const expected = ((255 - bytes[i * 4 + 3]!) * (255 - bytes[i * 4 + c]!)) / 255;
      expect(Math.abs(data[i * 3 + c]! - expected)).toBeLessThan(1);
    }
});

it("samples that are neither 8 nor 16 bits wide are refused by name", async () => {
  const float = await sharp(recordedBytes("rgb.png")).toColourspace("scrgb").tiff({ compression: "none" }).toBuffer();
  await expectError(loadImage(float), "ERR_IMAGE", /samples of type float/);
});

/** A minimal uncompressed little-endian TIFF of 16-bit CMYK samples. */
function tiff16(width: number, height: number, samples: Uint16Array): Buffer {
  const entries = [
    [256, 3, 1, width],
    [257, 3, 1, height],
    [258, 3, 4, 122],
    [259, 3, 1, 1],
    [262, 3, 1, 5],
    [273, 4, 1, 130],
    [277, 3, 1, 4],
    [278, 3, 1, height],
    [279, 4, 1, samples.byteLength],
  ] as const;
  const file = Buffer.alloc(130 + samples.byteLength);
  file.write("II*\0", "latin1");
  file.writeUInt32LE(8, 4);
  file.writeUInt16LE(entries.length, 8);
  entries.forEach(([tag, type, count, value], i) => {
    file.writeUInt16LE(tag, 10 + i * 12);
    file.writeUInt16LE(type, 12 + i * 12);
    file.writeUInt32LE(count, 14 + i * 12);
    file.writeUInt32LE(value, 18 + i * 12);
  });
  for (let c = 0; c < 4; c++) file.writeUInt16LE(16, 122 + c * 2);
  Buffer.from(samples.buffer, samples.byteOffset, samples.byteLength).copy(file, 130);
  return file;
}

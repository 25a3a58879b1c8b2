import { deflateSync, gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { isInstructPix2PixError } from "../../lib/core/errors.js";
import { loadImage, RgbImage } from "../../lib/images/index.js";
import { expectError, noise, recordedBytes, seeded } from "./fixtures.js";

const VICTIMS = [
  "420.jpg",
  "progressive.jpg",
  "cmyk.jpg",
  "exif-6.jpg",
  "rgb.png",
  "palette-transparent.png",
  "profile.png",
  "transparent-offset.gif",
  "animated.gif",
  "lossy.webp",
  "animated.webp",
  "tiff_lzw.tif",
  "jpeg.tif",
  "444.avif",
];

describe("a broken image is an ERR_IMAGE or an image, never anything else", () => {
  it.each(VICTIMS)("%s, cut off and with bits flipped, bytes changed, moved and repeated", async (file) => {
    const bytes = recordedBytes(file);
    const random = seeded(bytes.length);
    let refused = 0;
    for (let round = 0; round < 150; round++) {
      const mutated = mutate(bytes, random);
      try {
        // A mutated header may ask for a large image; small limits keep the test quick.
        const { width, height, data } = await loadImage(mutated, { maxPixels: 1e6, timeoutMs: 5000 });
        expect(data.length).toBe(width * height * 3);
      } catch (error) {
        refused++;
        expect(isInstructPix2PixError(error, "ERR_IMAGE"), String((error as Error).stack)).toBe(true);
        expect((error as Error).message).toMatch(/^the image [^\n]+$/);
      }
    }
    expect(refused).toBeGreaterThan(20);
  });

  it.each(VICTIMS.filter((file) => !file.includes("animated")))(
    "%s, truncated anywhere before its last bytes",
    async (file) => {
      const bytes = recordedBytes(file);
      // Pillow as well accepts a PNG without its empty end chunk and a GIF without its trailer.
      const needed = bytes.length - (file.endsWith(".png") ? 20 : file.endsWith(".gif") ? 4 : 1);
      const acceptsHeadOnly = file === "cmyk.jpg";
      for (let length = 0; length < needed; length += Math.ceil(needed / 40))
        if (!(acceptsHeadOnly && length > needed - 40))
          await expectError(loadImage(bytes.subarray(0, length)), "ERR_IMAGE", /^the image /);
    },
  );
});

function mutate(bytes: Buffer, random: (limit: number) => number): Buffer {
  const copy = Buffer.from(bytes);
  for (let n = 1 + random(3); n > 0; n--) {
    const at = random(copy.length);
    const span = 1 + random(Math.min(16, copy.length - at));
    switch (random(6)) {
      case 0:
        return copy.subarray(0, at);
      case 1:
        copy.fill(random(2) * 255, at, at + span);
        break;
      case 2:
        copy.copyWithin(random(copy.length), at, at + span);
        break;
      case 3:
        // Headers are where decoders trust most.
        copy[random(Math.min(64, copy.length))] = random(256);
        break;
      default:
        copy[at]! ^= 1 << random(8);
    }
  }
  return copy;
}

describe("headers that announce far too much are refused before anything is decoded", () => {
  it.each<[string, Buffer]>([
    ["PNG", png(100_000, 100_000)],
    ["a larger PNG", png(9_999_999, 9_999_999)],
    ["JPEG", patch("444.jpg", (b) => b.writeUInt32BE(0xffffffff, b.indexOf(Buffer.from([0xff, 0xc0])) + 5))],
    ["GIF", patch("palette.gif", (b) => b.writeUInt32LE(0xffffffff, b.indexOf(",", 61) + 5))],
    ["TIFF", patch("raw.tif", (b) => setTiffSize(b, 9_999_999))],
    ["AVIF", patch("444.avif", (b) => b.writeBigUInt64BE(0x0098967f_0098967fn, b.indexOf("ispe") + 8))],
    ["WebP", patch("lossy.webp", (b) => b.writeUInt32LE(0x3fff3fff, b.indexOf(Buffer.from("9d012a", "hex")) + 3))],
  ])("%s", async (_, bytes) => {
    const before = process.memoryUsage().rss;
    await expectError(loadImage(bytes, { maxPixels: 1e8 }), "ERR_IMAGE", /^the image /);
    expect(process.memoryUsage().rss - before).toBeLessThan(200e6);
  });

  it.each<[string, (bytes: Buffer, frame: number) => Buffer]>([
    ["one row is missing", (b, frame) => taller(b, frame, 1)],
    ["most rows are missing", (b, frame) => taller(b, frame, 1000)],
    ["it ends at once", (b, frame) => Buffer.concat([b.subarray(0, dataOf(b, frame)), Buffer.from("003b", "hex")])],
    [
      "its first code ends it",
      (b, frame) => {
        const at = dataOf(b, frame);
        // After the number of bits of a pixel: the code that stands behind all pixels and the one that clears.
        const code = (1 << b[at - 1]!) + 1;
        return Buffer.concat([b.subarray(0, at), Buffer.of(2, code & 255, code >> 8, 0, 0x3b)]);
      },
    ],
  ])("a GIF whose file is whole but whose data ends early is refused: %s", async (_, change) => {
    for (const name of ["palette.gif", "interlaced.gif", "transparent-offset.gif"]) {
      const bytes = recordedBytes(name);
      const frame = bytes.indexOf(Buffer.of(0x2c), 13 + (3 << ((bytes[10]! & 7) + 1)));
      const changed = change(Buffer.from(bytes), frame);
      await expectError(loadImage(changed), "ERR_IMAGE", /GIF image with too little data for its size$/);
    }
  });

  it("a PNG whose data ends early is refused although its size is allowed", async () => {
    await expectError(loadImage(png(5000, 5000)), "ERR_IMAGE", /PNG image that cannot be decoded/);
  });
});

describe("a file that is not an image is named by its kind", () => {
  const svg = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><image href="file:///etc/passwd"/></svg>';
  it.each<[string, Buffer | string, RegExp]>([
    ["nothing", "", /is empty/],
    ["text", "hello world", /not an image in a known format/],
    ["zeros", Buffer.alloc(5000), /not an image in a known format/],
    ["noise", Buffer.from(noise(7, 5000)), /not an image in a known format/],
    ["SVG", svg, /is an SVG drawing/],
    ["SVG with a prologue", `\ufeff<?xml version="1.0"?>\n<!-- a -->\n${svg}`, /is an SVG drawing/],
    ["SVG with a doctype", `<!DOCTYPE svg [<!ENTITY a SYSTEM "file:///etc/passwd">]>${svg}`, /is an SVG drawing/],
    ["compressed SVG", gzipSync(svg), /is gzip-compressed/],
    ["PDF", "%PDF-1.7\n%\u00e2\u00e3", /is a PDF document/],
    ["PostScript", "%!PS-Adobe-3.0 EPSF-3.0", /is a PostScript document/],
    ["HTML", "<!DOCTYPE html><html><svg></svg></html>", /is an HTML page/],
    ["BMP", Buffer.from("BM\x36\0\0\0\0\0\0\0", "latin1"), /is a BMP image; give a PNG/],
    ["a video", Buffer.from("\0\0\0\x18ftypmp42\0\0\0\0isommp42", "latin1"), /is a video/],
    ["a zip archive", Buffer.from("PK\x03\x04", "latin1"), /is a zip archive/],
    ["HEIC", Buffer.from("\0\0\0\x18ftypheic\0\0\0\0mif1heic", "latin1"), /HEIC image/],
  ])("%s", async (_, content, message) => {
    await expectError(loadImage(Buffer.from(content as string)), "ERR_IMAGE", message);
  });
});

it("a valid image can be read after a broken one", async () => {
  const whole = recordedBytes("rgb.png");
  await Promise.allSettled([loadImage(whole.subarray(0, 200)), loadImage(Buffer.alloc(9)), loadImage(whole)]);
  expect(await loadImage(whole)).toBeInstanceOf(RgbImage);
});

function crc32(bytes: Buffer): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return (crc ^ 0xffffffff) >>> 0;
}

function chunk(kind: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(kind, "latin1"), data]);
  const frame = Buffer.alloc(8);
  frame.writeUInt32BE(data.length, 0);
  frame.writeUInt32BE(crc32(body), 4);
  return Buffer.concat([frame.subarray(0, 4), body, frame.subarray(4)]);
}

/** A PNG with this size in a header that is right in itself, and hardly any data. */
function png(width: number, height: number): Buffer {
  const header = Buffer.from([0, 0, 0, 0, 0, 0, 0, 0, 8, 2, 0, 0, 0]);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  const signature = Buffer.from("89504e470d0a1a0a", "hex");
  return Buffer.concat([
    signature,
    chunk("IHDR", header),
    chunk("IDAT", deflateSync(Buffer.alloc(1000))),
    chunk("IEND", Buffer.alloc(0)),
  ]);
}

function patch(file: string, change: (bytes: Buffer) => void): Buffer {
  const bytes = recordedBytes(file);
  change(bytes);
  return bytes;
}

function setTiffSize(bytes: Buffer, size: number): void {
  const directory = bytes.readUInt32LE(4);
  for (let i = 0; i < bytes.readUInt16LE(directory); i++) {
    const entry = directory + 2 + i * 12;
    const tag = bytes.readUInt16LE(entry);
    if (tag !== 256 && tag !== 257) continue;
    bytes.writeUInt16LE(4, entry + 2);
    bytes.writeUInt32LE(size, entry + 8);
  }
}

/** A GIF's frame, and its screen, with more rows. */
function taller(bytes: Buffer, frame: number, rows: number): Buffer {
  for (const at of [frame + 7, 8]) bytes.writeUInt16LE(bytes.readUInt16LE(at) + rows, at);
  return bytes;
}

/** Where the data of a GIF's frame begin, after its head, its palette and the number of bits. */
function dataOf(bytes: Buffer, frame: number): number {
  const flags = bytes[frame + 9]!;
  return frame + 11 + ((flags & 0x80) === 0 ? 0 : 3 << ((flags & 7) + 1));
}

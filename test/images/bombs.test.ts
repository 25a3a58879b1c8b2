import { describe, expect, it, vi } from "vitest";
import { loadImage } from "../../lib/images/index.js";
import * as library from "../../lib/images/sharp.js";
import * as bomb from "./bombs.js";
import { expectError, recordedBytes, recordedPictures } from "./fixtures.js";

const { box, EMPTY_SCAN, gif, jpeg, jpegSegment, png, pngChunk, repeat, tiff, tiffTags, webp } = bomb;
const LIMIT = 30_000;

const avif = recordedBytes("444.avif");
const avifPixels = (await loadImage(avif)).data;
const nested = (kind: string, levels: number) => {
  let inner: Buffer = box(kind);
  for (let i = 0; i < levels; i++) inner = box(kind, inner);
  return inner;
};
/** A list of one item that says how many there are. */
const items = (count: number, type = "av01") => {
  const entry = box("infe", Buffer.from(`\x02\0\0\0\0\x01\0\0${type}\0`, "latin1"));
  const list = Buffer.concat([Buffer.alloc(6), entry]);
  list.writeUInt16BE(count, 4);
  return box("meta", Buffer.concat([Buffer.alloc(4), box("iinf", list)]));
};
/** An image made of one tile of 8,000 by 6,000 pixels, which it names so often. */
const tiles = (count: number) => {
  const size = box("ispe", Buffer.from("0000000000001f4000001770", "hex"));
  const item = Buffer.from("00000000000000010002" + "0101", "hex");
  const names = Buffer.concat([Buffer.from([0, 1, count >> 8, count & 255]), ...repeat(Buffer.from([0, 2]), count)]);
  const properties = box("iprp", Buffer.concat([box("ipco", size), box("ipma", item)]));
  return box(
    "meta",
    Buffer.concat([Buffer.alloc(4), box("iref", Buffer.concat([Buffer.alloc(4), box("dimg", names)])), properties]),
  );
};
/** A TIFF whose one strip is a JPEG stream, or whose strips all are the same. */
const tiffOfJpeg = (stream: Buffer, strips = 1) =>
  tiff(
    [
      ...tiffTags(13, 3, 6).filter(([tag]) => ![257, 259, 273, 278, 279].includes(tag)),
      [257, 4, [10 * strips]],
      [259, 3, [7]],
      [273, 4, Array<number>(strips).fill(8)],
      [278, 4, [10]],
      [279, 4, Array<number>(strips).fill(stream.length)],
    ],
    { pixels: stream },
  );

/** A TIFF of 5,000 rows that are strips in the same place, each of so many bytes. */
const tiffOfStrips = (size?: number) =>
  tiff(
    [
      ...tiffTags(1).filter(([tag]) => ![257, 273, 279].includes(tag)),
      [257, 4, [5000]],
      [273, 4, Array<number>(5000).fill(8)],
      ...(size === undefined ? [] : [[279, 4, Array<number>(5000).fill(size)] as bomb.TiffTag]),
    ],
    { pixels: Buffer.alloc(2 ** 20) },
  );

describe("a file that would take a decoder very long is refused before decoding starts", () => {
  it.each<[string, () => Buffer, RegExp]>([
    [
      "PNG: text chunks",
      () => png({ before: repeat(pngChunk("tEXt", Buffer.from("k\0v")), 100_001) }),
      /100000 chunks/,
    ],
    ["PNG: chunks behind the pixels", () => png({ after: repeat(pngChunk("abCd"), 100_001) }), /100000 chunks/],
    [
      "PNG: EXIF data",
      () => png({ before: [pngChunk("eXIf", Buffer.alloc(2 ** 20 + 1))] }),
      /1048576 bytes of metadata/,
    ],
    [
      "PNG: XMP data",
      () =>
        png({ after: [pngChunk("iTXt", Buffer.concat([Buffer.from("XML:com.adobe.xmp\0"), Buffer.alloc(2 ** 20)]))] }),
      /metadata/,
    ],
    ["PNG: palettes", () => png({ before: repeat(pngChunk("PLTE", Buffer.alloc(768)), 5) }), /two PLTE chunks/],
    [
      "PNG: pixels in pieces",
      () => png({ before: [pngChunk("IDAT"), pngChunk("tIME", Buffer.alloc(7))] }),
      /interrupted/,
    ],
    ["PNG: empty pieces", () => png({ before: repeat(pngChunk("IDAT"), 1_000_001) }), /1000000 chunks of image data/],
    [
      "PNG: pixels that expand to more than it has",
      () => png({ before: [pngChunk("IDAT", bomb.zeros(2e9))] }),
      /more compressed pixels/,
    ],
    ["JPEG: scans", () => jpeg({ scans: repeat(EMPTY_SCAN, 501) }), /500 scans/],
    [
      "JPEG: scans of many pixels",
      () => {
        const bytes = jpeg({ scans: repeat(EMPTY_SCAN, 60) });
        bytes.writeUInt32BE(0x2710_2710, bytes.indexOf(Buffer.from("ffc2", "hex")) + 5);
        return bytes;
      },
      /pixels to go through/,
    ],
    ["JPEG: application segments", () => jpeg({ segments: repeat(jpegSegment(0xe1, "x"), 10_001) }), /10000 segments/],
    ["JPEG: comments", () => jpeg({ segments: repeat(jpegSegment(0xfe, ""), 10_001) }), /10000 segments/],
    ["JPEG: tables between scans", () => jpeg({ scans: repeat(jpegSegment(0xdd, "\0\0"), 10_001) }), /10000 segments/],
    [
      "JPEG: markers without a segment",
      () => jpeg({ segments: repeat(Buffer.from("ffd0", "hex"), 10_001) }),
      /10000 segments/,
    ],
    ["WebP: frames", () => webp(20_001), /20000 frames/],
    ["WebP: chunks", () => webp(2, repeat(bomb.riffChunk("abcd", Buffer.alloc(0)), 20_000)), /20000 frames/],
    ["WebP: EXIF data", () => webp(2, [bomb.riffChunk("EXIF", Buffer.alloc(2 ** 20 + 1))]), /bytes of EXIF data/],
    [
      "GIF: pixels without data",
      () => {
        const bytes = gif(1);
        bytes.writeUInt32LE(0x3000_3000, bytes.indexOf(",", 61) + 5);
        return bytes;
      },
      /too little data/,
    ],
    ["GIF: extension blocks", () => gif(1, repeat(Buffer.from("21fe016100", "hex"), 10_001)), /10000 blocks/],
    [
      "TIFF: tags",
      () => tiff([...tiffTags(4), ...Array.from({ length: 4097 }, (_, i): bomb.TiffTag => [40000 + i, 4, [1]])]),
      /4096 tags/,
    ],
    ["TIFF: samples", () => tiff(tiffTags(1, 9)), /8 samples per pixel/],
    ["TIFF: XMP data", () => tiff([...tiffTags(4), [700, 7, Array<number>(2 ** 20 + 1).fill(0)]]), /bytes of XMP data/],
    ["TIFF: strips over each other", () => tiffOfStrips(2 ** 20), /lie over each other/],
    ["TIFF: strips without sizes", () => tiffOfStrips(), /lie over each other/],
    ["TIFF: strips with sizes of 0", () => tiffOfStrips(0), /lie over each other/],
    ["TIFF: scans in a strip", () => tiffOfJpeg(jpeg({ scans: repeat(EMPTY_SCAN, 501) })), /500 scans/],
    ["TIFF: a strip of JPEG many times", () => tiffOfJpeg(jpeg({}), 1000), /overlap/],
    [
      "TIFF: strips",
      () => tiff([...tiffTags(4).filter(([tag]) => tag !== 273), [273, 4, Array<number>(1_000_001).fill(8)]]),
      /1000000 strips/,
    ],
    ["AVIF: boxes", () => Buffer.concat([avif, ...repeat(box("free"), 10_001)]), /10000 boxes/],
    ["AVIF: nested boxes", () => Buffer.concat([avif, nested("dinf", 5000)]), /16 levels of boxes/],
    ["AVIF: items", () => Buffer.concat([avif, items(1001)]), /1000 items/],
    [
      "AVIF: tiles of many pixels",
      () => Buffer.concat([avif.subarray(0, avif.readUInt32BE(0)), tiles(20)]),
      /pixels in its tiles/,
    ],
    ["AVIF: images made of others", () => Buffer.concat([avif, items(1, "iovl")]), /type iovl/],
  ])(
    "%s",
    async (_, build, message) => {
      const start = vi.spyOn(library, "imageLibrary");
      await expectError(loadImage(build()), "ERR_IMAGE", message);
      expect(start).not.toHaveBeenCalled();
      start.mockRestore();
    },
    LIMIT,
  );
});

const pixelsOf = (file: string) => recordedPictures().find((picture) => picture.file === file)!.rgb;

describe("data after the first image is not processed, whatever its size", () => {
  const text = pngChunk("zTXt", Buffer.concat([Buffer.from("k\0\0"), bomb.zeros(5_000_000)]));
  const longGif = recordedBytes("palette.gif");
  it.each<[string, Buffer, Uint8Array]>([
    ["PNG: compressed text", png({ before: repeat(text, 2000) }), pixelsOf("rgb.png")],
    [
      "PNG: a compressed profile",
      png({ before: [pngChunk("iCCP", Buffer.concat([Buffer.from("p\0\0"), bomb.zeros(1e8)]))] }),
      pixelsOf("rgb.png"),
    ],
    [
      "PNG: long text",
      png({ after: repeat(pngChunk("tEXt", Buffer.alloc(100_000, "k\0")), 100) }),
      pixelsOf("rgb.png"),
    ],
    [
      "JPEG: profiles",
      jpeg({ segments: repeat(jpegSegment(0xe2, `ICC_PROFILE\0\x01\x01${"x".repeat(60_000)}`), 200) }),
      pixelsOf("progressive.jpg"),
    ],
    ["WebP: 2,000 frames", webp(2000), pixelsOf("animated.webp")],
    ["GIF: 100,000 frames", gif(100_000), pixelsOf("palette.gif")],
    [
      "GIF: a broken second frame",
      Buffer.concat([longGif.subarray(0, -1), Buffer.from(",\0\0")]),
      pixelsOf("palette.gif"),
    ],
    ["TIFF: 200,000 directories", tiff(tiffTags(4), { directories: 200_000 }), Buffer.alloc(12)],
    ["TIFF: a directory that leads to itself", tiff(tiffTags(4), { next: 72 }), Buffer.alloc(12)],
    [
      "TIFF: long tags",
      tiff([...tiffTags(4), [34675, 7, Array<number>(3e6).fill(1)], [37724, 7, Array<number>(3e6).fill(1)]]),
      Buffer.alloc(12),
    ],
    ["BigTIFF: 50,000 directories", tiff(tiffTags(4), { directories: 50_000, big: true }), Buffer.alloc(12)],
    ["AVIF: 5,000 boxes", Buffer.concat([avif, ...repeat(box("free"), 5000)]), avifPixels],
  ])(
    "%s",
    async (_, bytes, pixels) => {
      expect(Buffer.compare((await loadImage(bytes)).data, pixels)).toBe(0);
    },
    LIMIT,
  );
});

it("the orientation is found after the pixels of a PNG, as by Pillow", async () => {
  const exif = Buffer.from("49492a00080000000100120103000100000006000000", "hex");
  const { width, height } = await loadImage(png({ after: [pngChunk("eXIf", Buffer.concat([exif, Buffer.alloc(4)]))] }));
  expect([width, height]).toEqual([10, 13]);
});

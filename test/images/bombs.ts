import { constants, crc32, deflateSync } from "node:zlib";
import { recordedBytes } from "./fixtures.js";

// Files that make a decoder work far longer than their size suggests. Each has one image that is right.

export function pngChunk(kind: string, data: Uint8Array = Buffer.alloc(0)): Buffer {
  const chunk = Buffer.alloc(12 + data.length);
  chunk.writeUInt32BE(data.length, 0);
  chunk.write(kind, 4, "latin1");
  chunk.set(data, 8);
  chunk.writeUInt32BE(crc32(chunk.subarray(4, 8 + data.length)), 8 + data.length);
  return chunk;
}

/** A PNG with other chunks before and behind its pixels. */
export function png({ before = [] as Buffer[], after = [] as Buffer[] }): Buffer {
  const bytes = recordedBytes("rgb.png");
  const pixels = bytes.indexOf("IDAT") - 4;
  const end = bytes.length - 12;
  return Buffer.concat([
    bytes.subarray(0, pixels),
    ...before,
    bytes.subarray(pixels, end),
    ...after,
    bytes.subarray(end),
  ]);
}

export const repeat = (part: Buffer, times: number) => Array<Buffer>(times).fill(part);
/** A zlib stream that expands to zeros: blocks of 16 MiB, of which only the first is compressed here. */
export function zeros(length: number): Buffer {
  const BLOCK = 1 << 24;
  if (length <= BLOCK) return deflateSync(Buffer.alloc(length));
  const stream = deflateSync(Buffer.alloc(BLOCK), { finishFlush: constants.Z_FULL_FLUSH });
  return Buffer.concat([stream, ...repeat(stream.subarray(2), Math.ceil(length / BLOCK) - 1)]);
}

export function jpegSegment(marker: number, data: Buffer | string): Buffer {
  const content = Buffer.from(data as string, "latin1");
  const head = Buffer.from([0xff, marker, 0, 0]);
  head.writeUInt16BE(content.length + 2, 2);
  return Buffer.concat([head, content]);
}

/** A JPEG with segments behind its first marker, and scans behind its own. */
export function jpeg({ file = "progressive.jpg", segments = [] as Buffer[], scans = [] as Buffer[] }): Buffer {
  const bytes = recordedBytes(file);
  return Buffer.concat([bytes.subarray(0, 2), ...segments, bytes.subarray(2, -2), ...scans, bytes.subarray(-2)]);
}

export const EMPTY_SCAN = Buffer.from("ffda0008010100013f00", "hex");

export function riffChunk(kind: string, data: Buffer): Buffer {
  const head = Buffer.alloc(8);
  head.write(kind, "latin1");
  head.writeUInt32LE(data.length, 4);
  return Buffer.concat([head, data, Buffer.alloc(data.length % 2)]);
}

/** An animated WebP whose second frame comes many times, and other chunks behind it. */
export function webp(frames: number, others: Buffer[] = []): Buffer {
  const bytes = recordedBytes("animated.webp");
  const last = bytes.lastIndexOf("ANMF");
  const frame = bytes.subarray(last, last + 8 + bytes.readUInt32LE(last + 4));
  const body = Buffer.concat([bytes.subarray(12, last), ...repeat(frame, frames - 1), ...others]);
  return riffChunk("RIFF", Buffer.concat([Buffer.from("WEBP"), body]));
}

/** A GIF with extension blocks before its first frame, and that frame many times. */
export function gif(frames: number, blocks: Buffer[] = []): Buffer {
  const bytes = recordedBytes("palette.gif");
  const begin = 13 + (3 << ((bytes[10]! & 7) + 1));
  const picture = bytes.subarray(begin, -1);
  return Buffer.concat([bytes.subarray(0, begin), ...blocks, ...repeat(picture, frames), Buffer.of(0x3b)]);
}

export type TiffTag = [tag: number, type: number, values: number[]];

/** The tags of an uncompressed TIFF of one row of grey or coloured pixels. */
export function tiffTags(width: number, samples = 1, photometric = 1, bits = 8): TiffTag[] {
  return [
    [256, 4, [width]],
    [257, 4, [1]],
    [258, 3, Array<number>(samples).fill(bits)],
    [259, 3, [1]],
    [262, 3, [photometric]],
    [273, 4, [8]],
    [277, 3, [samples]],
    [278, 4, [1]],
    [279, 4, [(width * samples * bits) / 8]],
  ];
}

/** A little-endian TIFF, classic or big, of `directories` equal directories; the last leads to `next`. */
export function tiff(
  tags: TiffTag[],
  { pixels = Buffer.from(new Uint8Array(64)) as Buffer, directories = 1, next = 0, big = false } = {},
): Buffer {
  const [head, width, inline] = big ? [16, 20, 8] : [8, 12, 4];
  const entries = [...tags].sort(([a], [b]) => a - b);
  const size = (big ? 16 : 6) + entries.length * width;
  const first = head + pixels.length;
  const extra: Buffer[] = [];
  let free = first + size * directories;
  const written = entries.map(([tag, type, values]) => {
    const bytes = { 3: 2, 4: 4, 7: 1 }[type]!;
    const data = Buffer.alloc(Math.max(inline, values.length * bytes));
    values.forEach((value, i) => {
      data.writeUIntLE(tag === 273 ? value - 8 + head : value, i * bytes, bytes);
    });
    const entry = Buffer.alloc(width);
    entry.writeUInt16LE(tag, 0);
    entry.writeUInt16LE(type, 2);
    entry.writeUInt32LE(values.length, 4);
    if (data.length <= inline) data.copy(entry, width - inline);
    else {
      entry.writeUInt32LE(free, width - inline);
      extra.push(data);
      free += data.length;
    }
    return entry;
  });
  const file = Buffer.alloc(first + size * directories);
  file.write(big ? "II+\0\x08\0\0\0" : "II*\0", "latin1");
  file.writeUInt32LE(first, big ? 8 : 4);
  pixels.copy(file, head);
  const body = Buffer.concat(written);
  for (let i = 0, at = first; i < directories; i++, at += size) {
    file.writeUInt16LE(entries.length, at);
    body.copy(file, at + (big ? 8 : 2));
    file.writeUInt32LE(i + 1 < directories ? at + size : next, at + size - (big ? 8 : 4));
  }
  return Buffer.concat([file, ...extra]);
}

export function box(kind: string, data: Buffer = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(8);
  head.writeUInt32BE(8 + data.length, 0);
  head.write(kind, 4, "latin1");
  return Buffer.concat([head, data]);
}

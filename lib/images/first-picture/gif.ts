import { checkCount, FILE_LIMITS, Refusal } from "./limits.js";
import { holdsPixels } from "./lzw.js";

const IMAGE = 0x2c;
const EXTENSION = 0x21;
const TRAILER = 0x3b;
const GRAPHIC_CONTROL = 0xf9;
const HEADER_BYTES = 13;
const IMAGE_BYTES = 10;

/**
 * Keeps the first frame of a GIF, with its transparency. A truncated file is left as it is.
 *
 * @throws {@link Refusal} for a frame with too little data for its size, which the decoder would fill up
 */
export async function firstPictureOfGif(bytes: Buffer, maxPixels: number): Promise<Buffer> {
  let at = HEADER_BYTES + paletteBytes(bytes[10]);
  const head = bytes.subarray(0, at);
  let control = bytes.subarray(0, 0);
  for (let blocks = 0; bytes[at] === EXTENSION; ) {
    checkCount(++blocks, FILE_LIMITS.segments, "blocks before its first frame");
    const end = endOfBlocks(bytes, at + 2);
    if (end === undefined) return bytes;
    // The last one before the frame applies.
    if (bytes[at + 1] === GRAPHIC_CONTROL) control = bytes.subarray(at, end);
    at = end;
  }
  if (bytes[at] !== IMAGE) return bytes;
  const codeSize = at + IMAGE_BYTES + paletteBytes(bytes[at + 9]);
  const end = endOfBlocks(bytes, codeSize + 1);
  const pixels = bytes.readUInt16LE(at + 5) * bytes.readUInt16LE(at + 7);
  if (
    pixels <= maxPixels &&
    !(await holdsPixels(contentOfBlocks(bytes, codeSize + 1), bytes.readUInt8(codeSize), pixels))
  )
    throw new Refusal("is a GIF image with too little data for its size");
  if (end === undefined) return bytes;
  return Buffer.concat([head, control, bytes.subarray(at, end), Buffer.of(TRAILER)]);
}

/** Size in bytes of the colour table that the flags declare. */
function paletteBytes(flags = 0): number {
  return (flags & 0x80) === 0 ? 0 : 3 << ((flags & 7) + 1);
}

/** The offset after a list of length-prefixed blocks that ends with an empty one. */
function endOfBlocks(bytes: Buffer, from: number): number | undefined {
  let at = from;
  while (at < bytes.length) {
    const length = bytes[at]!;
    at += 1 + length;
    if (length === 0) return at;
  }
  return undefined;
}

/** What the blocks hold together, as far as the file goes. */
function contentOfBlocks(bytes: Buffer, from: number): Buffer {
  const parts: Buffer[] = [];
  for (let at = from; at < bytes.length && bytes[at] !== 0; at += 1 + bytes[at]!)
    parts.push(bytes.subarray(at + 1, at + 1 + bytes[at]!));
  return Buffer.concat(parts);
}

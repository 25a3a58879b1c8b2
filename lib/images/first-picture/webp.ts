import { checkCount, FILE_LIMITS } from "./limits.js";

/** Four characters and a length. */
const HEAD_BYTES = 8;
const RIFF_BYTES = 12;
/** Size of an animation frame's header: position, size, duration, flags. */
const FRAME_BYTES = 16;
const HAS_ICC = 0x20;

const PIXELS = new Set(["VP8 ", "VP8L", "ALPH", "VP8X", "ANIM", "ANMF"]);
const METADATA = new Set(["EXIF", "XMP "]);

/** Keeps the first frame of a WebP with its canvas, and EXIF and XMP data for the orientation. */
export function firstPictureOfWebp(bytes: Buffer): Buffer {
  const end = RIFF_BYTES - 4 + bytes.readUInt32LE(4);
  const body = bytes.subarray(RIFF_BYTES, end);
  const chunks = firstChunks(body);
  // A truncated file is left as it is; the decoder refuses it.
  if (end > bytes.length || !chunks) return bytes;
  const parts = chunks.map((chunk) => {
    const type = typeOf(chunk);
    if (type === "VP8X") return withoutIcc(chunk);
    return type === "ANMF" ? withChunksOnly(chunk) : chunk;
  });
  const riff = Buffer.from(bytes.subarray(0, RIFF_BYTES));
  riff.writeUInt32LE(4 + parts.reduce((sum, { length }) => sum + length, 0), 4);
  return Buffer.concat([riff, ...parts]);
}

/** The first chunk of each type that is kept, with its padding; undefined if the bytes end within a chunk. */
function firstChunks(body: Buffer): Buffer[] | undefined {
  const found = new Map<string, Buffer>();
  let count = 0;
  for (let at = 0; at < body.length; ) {
    if (at + HEAD_BYTES > body.length) return undefined;
    const size = body.readUInt32LE(at + 4);
    const end = at + HEAD_BYTES + size + (size % 2);
    if (end > body.length) return undefined;
    checkCount(++count, FILE_LIMITS.webpChunks, "frames and other chunks");
    const chunk = body.subarray(at, end);
    const type = typeOf(chunk);
    if (METADATA.has(type)) checkCount(size, FILE_LIMITS.metadataBytes, `bytes of ${type.trim()} data`);
    if ((PIXELS.has(type) || METADATA.has(type)) && !found.has(type)) found.set(type, chunk);
    at = end;
  }
  return [...found.values()];
}

function typeOf(chunk: Buffer): string {
  return chunk.toString("latin1", 0, 4);
}

function withoutIcc(chunk: Buffer): Buffer {
  const copy = Buffer.from(chunk);
  if (copy.length > HEAD_BYTES) copy[HEAD_BYTES]! &= ~HAS_ICC;
  return copy;
}

/** An animation frame without unknown chunks. */
function withChunksOnly(frame: Buffer): Buffer {
  const chunks = firstChunks(frame.subarray(HEAD_BYTES + FRAME_BYTES));
  if (!chunks) return frame;
  const head = Buffer.from(frame.subarray(0, HEAD_BYTES + FRAME_BYTES));
  head.writeUInt32LE(FRAME_BYTES + chunks.reduce((sum, { length }) => sum + length, 0), 4);
  return Buffer.concat([head, ...chunks]);
}

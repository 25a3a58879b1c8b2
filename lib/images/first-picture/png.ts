import { checkCount, FILE_LIMITS, Refusal } from "./limits.js";

const SIGNATURE_BYTES = 8;
/** Length, type and checksum. */
const FRAME_BYTES = 12;
/** The type of chunks with pixels, as a number. */
const IDAT = 0x49444154;
const XMP_KEYWORD = "XML:com.adobe.xmp\0";

/**
 * Keeps the chunks of a PNG that decide its pixels, and EXIF and XMP data for the orientation. These come first, since
 * they may stand behind the image data, where the decoder does not look for them.
 */
export function firstPictureOfPng(bytes: Buffer): Buffer {
  const signature = bytes.subarray(0, SIGNATURE_BYTES);
  const head: Buffer[] = [];
  const metadata: Buffer[] = [];
  const seen = new Set<string>();
  let image = bytes.subarray(0, 0);
  let others = 0;
  let at = SIGNATURE_BYTES;
  while (at + FRAME_BYTES <= bytes.length) {
    if (bytes.readUInt32BE(at + 4) === IDAT) {
      if (image.length > 0) throw new Refusal("is a PNG picture whose image data is interrupted by other chunks");
      image = imageChunks(bytes, at);
      at += image.length;
      if (image.length > 0) continue;
      break;
    }
    const length = bytes.readUInt32BE(at);
    const end = at + FRAME_BYTES + length;
    if (end > bytes.length) break;
    const chunk = bytes.subarray(at, end);
    const type = chunk.toString("latin1", 4, 8);
    checkCount(++others, FILE_LIMITS.pngChunks, "chunks besides its image data");
    if (type === "IEND") return Buffer.concat([signature, ...head, ...metadata, image, chunk]);
    at = end;
    const kind = kindOf(type, chunk);
    if (kind === undefined || (kind === "metadata" && seen.has(type))) continue;
    if (seen.has(type)) throw new Refusal(`is a PNG picture with two ${type} chunks`);
    seen.add(type);
    if (kind === "metadata") checkCount(length, FILE_LIMITS.metadataBytes, `bytes of metadata in its ${type} chunk`);
    (kind === "metadata" ? metadata : head).push(chunk);
  }
  // The last chunk is cut off: the decoder says what is missing.
  return Buffer.concat([signature, ...head, ...metadata, image, bytes.subarray(at)]);
}

/** The consecutive whole IDAT chunks from an offset on. */
function imageChunks(bytes: Buffer, from: number): Buffer {
  let at = from;
  for (let count = 0; at + FRAME_BYTES <= bytes.length && bytes.readUInt32BE(at + 4) === IDAT; ) {
    const end = at + FRAME_BYTES + bytes.readUInt32BE(at);
    if (end > bytes.length) break;
    checkCount(++count, FILE_LIMITS.pngImageChunks, "chunks of image data");
    at = end;
  }
  return bytes.subarray(from, at);
}

/** Undefined for what is left out: a chunk that nobody must understand (its type begins in lower case). */
function kindOf(type: string, chunk: Buffer): "pixels" | "metadata" | undefined {
  if (type === "eXIf") return "metadata";
  if (type === "iTXt")
    return chunk.toString("latin1", 8, 8 + XMP_KEYWORD.length) === XMP_KEYWORD ? "metadata" : undefined;
  return type === "tRNS" || !/^[a-z]/.test(type) ? "pixels" : undefined;
}

import { checkCount, FILE_LIMITS, Refusal } from "./limits.js";

const SIGNATURE_BYTES = 8;
/** Length, type and checksum. */
const FRAME_BYTES = 12;
const XMP_KEYWORD = "XML:com.adobe.xmp\0";

/**
 * Keeps the chunks of a PNG that decide its pixels, and EXIF and XMP data for the orientation. These come first, since
 * they may stand behind the image data, where the decoder does not look for them.
 */
export function firstPictureOfPng(bytes: Buffer): Buffer {
  const head: Buffer[] = [];
  const metadata: Buffer[] = [];
  const image: Buffer[] = [];
  const seen = new Set<string>();
  let others = 0;
  let imageEnded = false;
  let at = SIGNATURE_BYTES;
  while (at + FRAME_BYTES <= bytes.length) {
    const length = bytes.readUInt32BE(at);
    const type = bytes.toString("latin1", at + 4, at + 8);
    const end = at + FRAME_BYTES + length;
    if (end > bytes.length) break;
    const chunk = bytes.subarray(at, end);
    at = end;
    if (type === "IDAT") {
      if (imageEnded) throw new Refusal("is a PNG picture whose image data is interrupted by other chunks");
      if (length > 0) image.push(chunk);
      continue;
    }
    imageEnded = image.length > 0;
    checkCount(++others, FILE_LIMITS.pngChunks, "chunks besides its image data");
    if (type === "IEND")
      return Buffer.concat([bytes.subarray(0, SIGNATURE_BYTES), ...head, ...metadata, ...image, chunk]);
    const kind = kindOf(type, chunk);
    if (kind === undefined || (kind === "metadata" && seen.has(type))) continue;
    if (seen.has(type)) throw new Refusal(`is a PNG picture with two ${type} chunks`);
    seen.add(type);
    if (kind === "metadata") checkCount(length, FILE_LIMITS.metadataBytes, `bytes of metadata in one ${type} chunk`);
    (kind === "metadata" ? metadata : head).push(chunk);
  }
  // It is cut off: the decoder tells how, from the bytes that are there.
  return Buffer.concat([bytes.subarray(0, SIGNATURE_BYTES), ...head, ...metadata, ...image, bytes.subarray(at)]);
}

/** Undefined for what is left out: a chunk that nobody must understand (its type begins in lower case). */
function kindOf(type: string, chunk: Buffer): "pixels" | "metadata" | undefined {
  if (type === "eXIf") return "metadata";
  if (type === "iTXt")
    return chunk.toString("latin1", 8, 8 + XMP_KEYWORD.length) === XMP_KEYWORD ? "metadata" : undefined;
  return type === "tRNS" || !/^[a-z]/.test(type) ? "pixels" : undefined;
}

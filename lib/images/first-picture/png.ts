import { checkCount, FILE_LIMITS, Refusal } from "./limits.js";
import { checkPngData } from "./png-data.js";

const SIGNATURE_BYTES = 8;
/** Length, type and checksum. */
const FRAME_BYTES = 12;
/** The type of chunks with pixels, as a number. */
const IDAT = 0x49444154;
const XMP_KEYWORD = "XML:com.adobe.xmp\0";

/**
 * Keeps the chunks of a PNG that determine its pixels, and EXIF and XMP data for the orientation. The latter are moved
 * to the front, since the decoder ignores them after the image data.
 */
export async function firstPictureOfPng(bytes: Buffer, maxPixels: number): Promise<Buffer> {
  const signature = bytes.subarray(0, SIGNATURE_BYTES);
  const head: Buffer[] = [];
  const metadata: Buffer[] = [];
  const seen = new Set<string>();
  let image: Buffer[] = [];
  let others = 0;
  let at = SIGNATURE_BYTES;
  while (at + FRAME_BYTES <= bytes.length) {
    if (bytes.readUInt32BE(at + 4) === IDAT) {
      if (image.length > 0) throw new Refusal("is a PNG image whose image data is interrupted by other chunks");
      image = imageChunks(bytes, at);
      at += image.reduce((sum, { length }) => sum + length, 0);
      if (image.length === 0) break;
      await checkPixels(head, image, maxPixels);
      continue;
    }
    const length = bytes.readUInt32BE(at);
    const end = at + FRAME_BYTES + length;
    if (end > bytes.length) break;
    const chunk = bytes.subarray(at, end);
    const type = chunk.toString("latin1", 4, 8);
    checkCount(++others, FILE_LIMITS.pngChunks, "chunks besides its image data");
    if (type === "IEND") return Buffer.concat([signature, ...head, ...metadata, ...image, chunk]);
    at = end;
    const kind = kindOf(type, chunk);
    if (kind === undefined || (kind === "metadata" && seen.has(type))) continue;
    if (seen.has(type)) throw new Refusal(`is a PNG image with two ${type} chunks`);
    seen.add(type);
    if (kind === "metadata") checkCount(length, FILE_LIMITS.metadataBytes, `bytes of metadata in its ${type} chunk`);
    (kind === "metadata" ? metadata : head).push(chunk);
  }
  // The last chunk is truncated: the decoder reports it.
  return Buffer.concat([signature, ...head, ...metadata, ...image, bytes.subarray(at)]);
}

/** The consecutive whole IDAT chunks from an offset on. */
function imageChunks(bytes: Buffer, from: number): Buffer[] {
  const chunks: Buffer[] = [];
  for (let at = from; at + FRAME_BYTES <= bytes.length && bytes.readUInt32BE(at + 4) === IDAT; ) {
    const end = at + FRAME_BYTES + bytes.readUInt32BE(at);
    if (end > bytes.length) break;
    checkCount(chunks.length + 1, FILE_LIMITS.pngImageChunks, "chunks of image data");
    chunks.push(bytes.subarray(at, end));
    at = end;
  }
  return chunks;
}

/** Images above the pixel limit are refused later. */
async function checkPixels([header]: Buffer[], image: Buffer[], maxPixels: number): Promise<void> {
  const IHDR_BYTES = 13;
  if (header?.length !== FRAME_BYTES + IHDR_BYTES || header.readUInt32BE(8) * header.readUInt32BE(12) > maxPixels)
    return;
  await checkPngData(
    header,
    image.map((chunk) => chunk.subarray(FRAME_BYTES - 4, -4)),
  );
}

/** Undefined for chunks that are dropped: ancillary ones (type in lower case). */
function kindOf(type: string, chunk: Buffer): "pixels" | "metadata" | undefined {
  if (type === "eXIf") return "metadata";
  if (type === "iTXt")
    return chunk.toString("latin1", 8, 8 + XMP_KEYWORD.length) === XMP_KEYWORD ? "metadata" : undefined;
  return type === "tRNS" || !/^[a-z]/.test(type) ? "pixels" : undefined;
}

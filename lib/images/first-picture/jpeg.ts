import { setImmediate as nextTurn } from "node:timers/promises";
import { checkCount, FILE_LIMITS, Refusal } from "./limits.js";

const SOI = 0xd8;
const EOI = 0xd9;
const SOS = 0xda;
const COM = 0xfe;
const TEM = 0x01;

/** Application segments that are kept, the last of each: two determine the colours, two hold the orientation. */
const KEPT: { marker: number; begins: string }[] = [
  { marker: 0xe0, begins: "JFIF\0" },
  { marker: 0xee, begins: "Adobe" },
  { marker: 0xe1, begins: "Exif\0\0" },
  { marker: 0xe1, begins: "http://ns.adobe.com/xap/1.0/\0" },
];

/** Bytes scanned between two turns of the event loop. */
const SLICE = 1 << 22;

/**
 * Keeps the segments of a JPEG stream that determine its pixels, and EXIF and XMP for the orientation. Adds the scanned
 * pixels to `work`, which the streams of one file share.
 *
 * @throws {@link Refusal} for more scans or segments than {@link FILE_LIMITS} allows.
 */
export async function firstPictureOfJpeg(bytes: Buffer, work = { scannedPixels: 0 }): Promise<Buffer> {
  const applications = new Map<number, Buffer>();
  const rest: Buffer[] = [];
  let pixels = 0;
  let scans = 0;
  let segments = 0;
  let at = 2;
  for (;;) {
    const begin = await nextMarker(bytes, at);
    const marker = bytes[begin + 1] ?? EOI;
    if (marker === EOI) {
      rest.push(bytes.subarray(begin, begin + 2));
      break;
    }
    at = begin + 2;
    if (isAlone(marker)) {
      if (marker === SOI) throw new Refusal("is a JPEG image with a second beginning");
      checkCount(++segments, FILE_LIMITS.segments, "segments");
      continue;
    }
    let end = begin + 2 + (begin + 4 <= bytes.length ? bytes.readUInt16BE(begin + 2) : 0);
    if (end < begin + 4 || end > bytes.length) {
      rest.push(bytes.subarray(begin));
      break;
    }
    if (marker === SOS) {
      checkCount(++scans, FILE_LIMITS.scans, "scans");
      work.scannedPixels += pixels;
      checkCount(work.scannedPixels, FILE_LIMITS.scannedPixels, "pixels to go through, scan by scan");
      end = await nextMarker(bytes, end, endsScan);
    } else {
      checkCount(++segments, FILE_LIMITS.segments, "segments");
      if (isFrameHeader(marker) && end >= begin + 9)
        pixels = bytes.readUInt16BE(begin + 5) * bytes.readUInt16BE(begin + 7);
    }
    const segment = bytes.subarray(begin, end);
    at = end;
    if (!isApplication(marker)) rest.push(segment);
    else if (scans === 0) {
      const kept = KEPT.findIndex(
        (kind) => kind.marker === marker && segment.toString("latin1", 4, 4 + kind.begins.length) === kind.begins,
      );
      if (kept >= 0) applications.set(kept, segment);
    }
  }
  return Buffer.concat([bytes.subarray(0, 2), ...applications.values(), ...rest]);
}

/** The offset of the next marker, skipping fill and stray bytes; the length at the end. */
async function nextMarker(bytes: Buffer, from: number, isWanted = (_code: number) => true): Promise<number> {
  let at = from;
  while (at + 1 < bytes.length) {
    const stop = Math.min(at + SLICE, bytes.length - 1);
    for (; at < stop; at++) {
      const code = bytes[at + 1]!;
      if (bytes[at] === 0xff && code !== 0 && code !== 0xff && isWanted(code)) return at;
    }
    await nextTurn();
  }
  return bytes.length;
}

/** Entropy-coded data ends at the first marker that is not a restart marker. */
function endsScan(code: number): boolean {
  return code < 0xd0 || code > 0xd7;
}

/** Markers without a length. */
function isAlone(marker: number): boolean {
  return marker === TEM || (marker >= 0xd0 && marker <= SOI);
}

function isApplication(marker: number): boolean {
  return (marker >= 0xe0 && marker <= 0xef) || marker === COM;
}

/** SOF0 to SOF15, except DHT, JPG and DAC in the same range. */
function isFrameHeader(marker: number): boolean {
  return marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc;
}

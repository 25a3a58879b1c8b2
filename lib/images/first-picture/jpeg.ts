import { setImmediate as nextTurn } from "node:timers/promises";
import { checkCount, FILE_LIMITS, Refusal } from "./limits.js";

const SOI = 0xd8;
const EOI = 0xd9;
const SOS = 0xda;
const COM = 0xfe;
const TEM = 0x01;

/** Application segments that are kept, the last of each: two decide the colours, two hold the orientation. */
const KEPT: { marker: number; begins: string }[] = [
  { marker: 0xe0, begins: "JFIF\0" },
  { marker: 0xee, begins: "Adobe" },
  { marker: 0xe1, begins: "Exif\0\0" },
  { marker: 0xe1, begins: "http://ns.adobe.com/xap/1.0/\0" },
];

/** Bytes that are looked at between two turns of the event loop. */
const SLICE = 1 << 22;

/**
 * Keeps of a JPEG stream what decides its pixels, and the EXIF and XMP segments that may hold its orientation. Adds to
 * `work`, which the streams of one file share, the pixels that its scans go through.
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
  for (let turned = 0; ; ) {
    if (at - turned > SLICE) {
      turned = at;
      await nextTurn();
    }
    const begin = nextMarker(bytes, at);
    const marker = begin < 0 ? EOI : bytes[begin + 1]!;
    if (begin < 0 || marker === EOI) {
      if (begin >= 0) rest.push(bytes.subarray(begin, begin + 2));
      break;
    }
    at = begin + 2;
    if (isAlone(marker)) {
      if (marker === SOI) throw new Refusal("is a JPEG picture with a second beginning");
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
      end = endOfScan(bytes, end);
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

/** Where the next marker begins, past filling and stray bytes; -1 at the end. */
function nextMarker(bytes: Buffer, from: number): number {
  let at = bytes.indexOf(0xff, from);
  while (at >= 0 && at + 1 < bytes.length) {
    const code = bytes[at + 1]!;
    if (code !== 0 && code !== 0xff) return at;
    at = bytes.indexOf(0xff, at + 1);
  }
  return -1;
}

/** Entropy-coded data ends at the first marker that is no restart. */
function endOfScan(bytes: Buffer, from: number): number {
  let at = nextMarker(bytes, from);
  while (at >= 0 && bytes[at + 1]! >= 0xd0 && bytes[at + 1]! <= 0xd7) at = nextMarker(bytes, at + 2);
  return at < 0 ? bytes.length : at;
}

/** Markers without a length. */
function isAlone(marker: number): boolean {
  return marker === TEM || (marker >= 0xd0 && marker <= SOI);
}

function isApplication(marker: number): boolean {
  return (marker >= 0xe0 && marker <= 0xef) || marker === COM;
}

/** SOF0 to SOF15; DHT, JPG and DAC lie between them. */
function isFrameHeader(marker: number): boolean {
  return marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc;
}

import { firstPictureOfGif } from "./first-picture/gif.js";
import { checkHeif } from "./first-picture/heif.js";
import { firstPictureOfJpeg } from "./first-picture/jpeg.js";
import { firstPictureOfPng } from "./first-picture/png.js";
import { firstPictureOfTiff } from "./first-picture/tiff.js";
import { firstPictureOfWebp } from "./first-picture/webp.js";
import type { YcbcrLayout } from "./ycbcr.js";

/** A file reduced to its first image. */
export interface FirstPicture {
  bytes: Buffer;
  /** Present if the decoder returns YCbCr samples as a grey image. */
  ycbcr?: YcbcrLayout;
}

/** A file format, recognised by its first bytes. */
export interface FileFormat {
  /** Name with its article, for messages: "a JPEG image", "an SVG drawing". */
  name: string;
  /** Whether the decoder may read it. */
  readable: boolean;
  /** The usual extension of a format that is readable. */
  extension?: string;
  /**
   * Keeps what the decoder needs for the first image, or refuses the file, in time linear in its length. May change
   * `bytes`. Throws a RangeError where the file ends too early. Images of more than `maxPixels` are refused later and
   * skipped here.
   */
  firstPicture?: (bytes: Buffer, maxPixels: number) => FirstPicture | Promise<FirstPicture>;
}

interface Signature extends FileFormat {
  test: (bytes: Buffer) => boolean;
}

/** Number of leading bytes that are examined. */
const SNIFFED = 4096;

const ascii =
  (text: string, offset = 0) =>
  (bytes: Buffer) =>
    bytes.toString("latin1", offset, offset + text.length) === text;
const hex = (digits: string) => (bytes: Buffer) =>
  bytes.subarray(0, digits.length / 2).equals(Buffer.from(digits, "hex"));
const text = (pattern: RegExp) => (bytes: Buffer) => pattern.test(bytes.toString("latin1", 0, SNIFFED));

/** ISO base media files (HEIF and related) list their brands in a `ftyp` box of this many bytes. */
function brands(bytes: Buffer): string {
  if (bytes.toString("latin1", 4, 8) !== "ftyp") return "";
  return bytes.toString("latin1", 8, Math.min(bytes.readUInt32BE(0), 256));
}

/** Lets libvips read an AVIF sequence, whose still image it would decode but whose major brand it does not know. */
function checkedHeif(bytes: Buffer, maxPixels: number): FirstPicture {
  checkHeif(bytes, maxPixels);
  if (bytes.toString("latin1", 4, 12) === "ftypavis") bytes.write("avif", 8, "latin1");
  return { bytes };
}

// Drawings and documents are refused although some builds of libvips render them: they can name other files and hosts,
// and have no intrinsic pixels. Unknown formats are refused too, so that a libvips built with more loaders (such as
// ImageMagick's) never reads them.
const SIGNATURES: Signature[] = [
  {
    name: "a JPEG image",
    readable: true,
    extension: "jpg",
    test: hex("ffd8ff"),
    firstPicture: async (bytes) => ({ bytes: await firstPictureOfJpeg(bytes) }),
  },
  {
    name: "a PNG image",
    readable: true,
    extension: "png",
    test: hex("89504e470d0a1a0a"),
    firstPicture: async (bytes, maxPixels) => ({ bytes: await firstPictureOfPng(bytes, maxPixels) }),
  },
  {
    name: "a GIF image",
    readable: true,
    extension: "gif",
    test: ascii("GIF8"),
    firstPicture: async (bytes, maxPixels) => ({ bytes: await firstPictureOfGif(bytes, maxPixels) }),
  },
  {
    name: "a WebP image",
    readable: true,
    extension: "webp",
    test: (b) => ascii("RIFF")(b) && ascii("WEBP", 8)(b),
    firstPicture: (bytes) => ({ bytes: firstPictureOfWebp(bytes) }),
  },
  {
    name: "a TIFF image",
    readable: true,
    extension: "tif",
    test: (b) => ["49492a00", "4d4d002a", "49492b00", "4d4d002b"].some((digits) => hex(digits)(b)),
    firstPicture: (bytes) => firstPictureOfTiff(bytes),
  },
  {
    name: "an AVIF image",
    readable: true,
    extension: "avif",
    test: (b) => /avif|avis/.test(brands(b)),
    firstPicture: checkedHeif,
  },
  {
    name: "a HEIC image",
    readable: true,
    extension: "heic",
    test: (b) => /heic|heix|hevc|mif1|msf1/.test(brands(b)),
    firstPicture: checkedHeif,
  },
  {
    name: "a JPEG XL image",
    readable: true,
    extension: "jxl",
    test: (b) => hex("ff0a")(b) || hex("0000000c4a584c20")(b),
  },
  {
    name: "a JPEG 2000 image",
    readable: true,
    extension: "jp2",
    test: (b) => hex("0000000c6a502020")(b) || hex("ff4fff51")(b),
  },
  { name: "a Netpbm image", readable: true, extension: "ppm", test: text(/^P[1-7f][\s#]/i) },
  { name: "a BMP image", readable: false, test: ascii("BM") },
  { name: "an icon file", readable: false, test: hex("00000100") },
  { name: "a Photoshop document", readable: false, test: ascii("8BPS") },
  { name: "an OpenEXR image", readable: false, test: hex("762f3101") },
  { name: "a video", readable: false, test: (b) => brands(b) !== "" || hex("1a45dfa3")(b) },
  { name: "an HTML page", readable: false, test: text(/^\W*<(!doctype html|html|head|body|script)/i) },
  { name: "an SVG drawing", readable: false, test: (b) => text(/^\W*</)(b) && text(/<svg[\s:>]/i)(b) },
  { name: "an XML document", readable: false, test: text(/^\W*<\?xml/i) },
  { name: "a PDF document", readable: false, test: text(/^.{0,1024}%PDF-/s) },
  { name: "a PostScript document", readable: false, test: ascii("%!PS") },
  { name: "gzip-compressed", readable: false, test: hex("1f8b") },
  { name: "a zip archive", readable: false, test: hex("504b0304") },
];

/** Recognises the format of an image, or of a file mistaken for one; undefined for unknown formats. */
export function identifyFormat(bytes: Buffer): FileFormat | undefined {
  const head = bytes.subarray(0, SNIFFED);
  return SIGNATURES.find(({ test }) => test(head));
}

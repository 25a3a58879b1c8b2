import type { YcbcrLayout } from "../ycbcr.js";
import { firstPictureOfJpeg } from "./jpeg.js";
import { checkCount, FILE_LIMITS, Refusal } from "./limits.js";
import { TiffDirectory } from "./tiff-directory.js";

const WIDTH = 256;
const HEIGHT = 257;
const BITS_PER_SAMPLE = 258;
const COMPRESSION = 259;
const PHOTOMETRIC = 262;
const STRIP_OFFSETS = 273;
const SAMPLES_PER_PIXEL = 277;
const ROWS_PER_STRIP = 278;
const STRIP_BYTE_COUNTS = 279;
const PLANAR_CONFIGURATION = 284;
const PREDICTOR = 317;
const COLOR_MAP = 320;
const TILE_WIDTH = 322;
const TILE_HEIGHT = 323;
const TILE_OFFSETS = 324;
const TILE_BYTE_COUNTS = 325;
const INK_SET = 332;
const EXTRA_SAMPLES = 338;
const SAMPLE_FORMAT = 339;
const INDEXED = 346;
const YCBCR_COEFFICIENTS = 529;
const YCBCR_SUBSAMPLING = 530;
const REFERENCE_BLACK_WHITE = 532;
const XMP = 700;

/** The tags that determine the pixels; 266, 292 and 293 are the bit packing, 274 the orientation, 347 the JPEG tables. */
const KEPT = new Set([
  ...[WIDTH, HEIGHT, BITS_PER_SAMPLE, COMPRESSION, PHOTOMETRIC, 266, STRIP_OFFSETS, 274, SAMPLES_PER_PIXEL],
  ...[ROWS_PER_STRIP, STRIP_BYTE_COUNTS, PLANAR_CONFIGURATION, 292, 293, PREDICTOR, COLOR_MAP, TILE_WIDTH, TILE_HEIGHT],
  ...[TILE_OFFSETS, TILE_BYTE_COUNTS, INK_SET, EXTRA_SAMPLES, SAMPLE_FORMAT, 347, XMP],
  // Old-style JPEG.
  ...[512, 513, 514, 515, 517, 518, 519, 520, 521],
  ...[YCBCR_COEFFICIENTS, YCBCR_SUBSAMPLING, 531, REFERENCE_BLACK_WHITE],
]);
const YCBCR_TAGS = [YCBCR_COEFFICIENTS, YCBCR_SUBSAMPLING, 531, REFERENCE_BLACK_WHITE];

const OLD_JPEG = 6;
const JPEG = 7;
const PALETTE = 3;
const RGB = 2;
const CMYK = 5;
const YCBCR = 6;
const ASSOCIATED_ALPHA = 1;

/** Unsupported colour spaces, by photometric interpretation. */
const UNREADABLE_COLORS: Record<number, string> = {
  4: "a transparency mask",
  8: "CIE L*a*b* colours",
  9: "ICC L*a*b* colours",
  10: "ITU L*a*b* colours",
  32803: "unprocessed sensor data (a colour filter array)",
  32844: "logarithmic luminance",
  32845: "logarithmic colours (LogLuv)",
  34892: "linear sensor data",
};

/** The reduced TIFF, and the layout of YCbCr samples that the decoder does not convert. */
export interface FirstTiffPicture {
  bytes: Buffer;
  ycbcr?: YcbcrLayout;
}

/**
 * Keeps the first directory of a TIFF and the tags that determine the pixels, modifying `bytes`. YCbCr samples without
 * JPEG compression become a grey image of their bytes, since the decoder would interpret them as RGB.
 *
 * @throws {@link Refusal} for more tags, samples or data than {@link FILE_LIMITS} allows, and for unsupported colours.
 */
export async function firstPictureOfTiff(bytes: Buffer): Promise<FirstTiffPicture> {
  const directory = new TiffDirectory(bytes);
  checkColors(directory);
  checkParts(bytes, directory);
  checkCount(directory.size(XMP), FILE_LIMITS.metadataBytes, "bytes of XMP data");
  const compression = directory.value(COMPRESSION, 1);
  if (compression === JPEG) await checkJpegs(bytes, directory);
  const isRaw = compression !== JPEG && compression !== OLD_JPEG;
  const ycbcr = isRaw && directory.value(PHOTOMETRIC, -1) === YCBCR ? layOut(directory) : undefined;
  directory.write(new Set([...KEPT].filter((tag) => !ycbcr || !(YCBCR_TAGS.includes(tag) || tag === EXTRA_SAMPLES))));
  return { bytes, ...(ycbcr && { ycbcr }) };
}

function checkColors(directory: TiffDirectory): void {
  const photometric = directory.value(PHOTOMETRIC, -1);
  const samples = directory.value(SAMPLES_PER_PIXEL, 1);
  const bits = directory.values(BITS_PER_SAMPLE);
  const extra = directory.values(EXTRA_SAMPLES);
  if (UNREADABLE_COLORS[photometric]) throw unusable(`with ${UNREADABLE_COLORS[photometric]}`);
  if (photometric > YCBCR) throw unusable(`with colours of an unknown kind (${photometric})`);
  checkCount(samples, FILE_LIMITS.tiffSamples, "samples per pixel");
  if (bits.some((width) => width !== bits[0])) throw unusable(`with samples of ${bits.join(", ")} bits`);
  if ([1, 2, 4, 8, 16].includes(bits[0] ?? 1) === false && (bits[0]! < 32 || directory.value(SAMPLE_FORMAT, 1) === 1))
    throw unusable(`with ${bits[0]} bits per sample`);
  if (directory.value(INDEXED, 0) === 1) throw unusable("with indexed colours that are not RGB");
  if (photometric === CMYK && (directory.value(INK_SET, 1) !== 1 || samples < 4))
    throw unusable("with inks that are not CMYK");
  if (extra.includes(ASSOCIATED_ALPHA) && photometric !== RGB)
    throw unusable("whose alpha is multiplied into colours other than RGB");
  const palette = directory.count(COLOR_MAP);
  if (photometric === PALETTE && ((bits[0] ?? 1) > 8 || palette !== 3 << (bits[0] ?? 1)))
    throw unusable(`with a palette of ${palette} values for ${bits[0] ?? 1} bits`);
}

function unusable(problem: string): Refusal {
  return new Refusal(`is a TIFF image ${problem}; convert it to RGB`);
}

/** Refuses strips or tiles that together have far more bytes than the file. */
function checkParts(bytes: Buffer, directory: TiffDirectory): void {
  for (const [offsets, sizes] of [
    [STRIP_OFFSETS, STRIP_BYTE_COUNTS],
    [TILE_OFFSETS, TILE_BYTE_COUNTS],
  ] as const) {
    const parts = directory.count(offsets);
    checkCount(parts, FILE_LIMITS.tiffParts, "strips or tiles");
    const known = directory.values(sizes, parts);
    // Where a size is missing, or the first is 0, the decoder takes all of the file for each.
    const total =
      known.length < parts || known[0] === 0 ? parts * bytes.length : known.reduce((sum, size) => sum + size, 0);
    checkCount(total - bytes.length, FILE_LIMITS.tiffSharedBytes, "bytes of strips or tiles that lie over each other");
  }
}

/** A JPEG stream lies in every strip or tile. */
async function checkJpegs(bytes: Buffer, directory: TiffDirectory): Promise<void> {
  const tiled = directory.count(TILE_OFFSETS) > 0;
  const offsets = directory.values(tiled ? TILE_OFFSETS : STRIP_OFFSETS, FILE_LIMITS.tiffParts);
  const sizes = directory.values(tiled ? TILE_BYTE_COUNTS : STRIP_BYTE_COUNTS, FILE_LIMITS.tiffParts);
  const total = sizes.reduce((sum, size) => sum + size, 0);
  if (total > bytes.length) throw new Refusal("is a TIFF image whose strips or tiles overlap");
  const work = { scannedPixels: 0 };
  for (const [i, offset] of offsets.entries())
    await firstPictureOfJpeg(bytes.subarray(offset, offset + (sizes[i] ?? 0)), work);
}

/** Turns the file into a grey image of its YCbCr bytes, and returns their layout. */
function layOut(directory: TiffDirectory): YcbcrLayout {
  const [across = 2, down = 2] = directory.values(YCBCR_SUBSAMPLING);
  const width = directory.value(WIDTH, 0);
  const height = directory.value(HEIGHT, 0);
  const bits = directory.values(BITS_PER_SAMPLE);
  const isPlain =
    bits.length > 0 &&
    directory.value(SAMPLES_PER_PIXEL, 1) === 3 &&
    bits.every((width) => width === 8) &&
    directory.value(SAMPLE_FORMAT, 1) === 1 &&
    directory.value(PLANAR_CONFIGURATION, 1) === 1 &&
    directory.value(PREDICTOR, 1) === 1;
  if (!isPlain || ![1, 2, 4].includes(across) || ![1, 2, 4].includes(down))
    throw unusable("with YCbCr colours in an uncommon layout");
  const unit = across * down + 2;
  const shrink = (tag: number, factor: number, times: number) => {
    const size = directory.value(tag, 0);
    if (size % factor !== 0 && size < height) throw unusable("with YCbCr colours that cross its strips or tiles");
    directory.set(tag, Math.ceil(size / factor) * times);
  };
  if (directory.count(TILE_WIDTH) > 0) {
    if (directory.value(TILE_WIDTH, 0) % across !== 0 || directory.value(TILE_HEIGHT, 0) % down !== 0)
      throw unusable("with YCbCr colours that cross its strips or tiles");
    shrink(TILE_WIDTH, across, unit);
    shrink(TILE_HEIGHT, down, 1);
  } else if (directory.count(ROWS_PER_STRIP) > 0) shrink(ROWS_PER_STRIP, down, 1);
  directory.set(WIDTH, Math.ceil(width / across) * unit);
  directory.set(HEIGHT, Math.ceil(height / down));
  directory.set(BITS_PER_SAMPLE, 8);
  directory.set(PHOTOMETRIC, 1);
  directory.set(SAMPLES_PER_PIXEL, 1);
  const [lumaRed = 0.299, lumaGreen = 0.587, lumaBlue = 0.114] = directory.values(YCBCR_COEFFICIENTS);
  const reference = directory.values(REFERENCE_BLACK_WHITE);
  return {
    width,
    height,
    across,
    down,
    luma: [lumaRed, lumaGreen, lumaBlue],
    reference: reference.length === 6 ? reference : [0, 255, 128, 255, 128, 255],
  };
}

import type { Metadata, OutputInfo, Sharp } from "sharp";
import { InstructPix2PixError, isError } from "../core/errors.js";
import { cmykToRgb } from "./cmyk.js";
import { type Decoder, type DecodingLimits, tooSlow, withinLimits } from "./decoding.js";
import { Refusal } from "./first-picture/limits.js";
import { type FileFormat, type FirstPicture, identifyFormat } from "./format.js";
import { coverBackdrop, type GifBackdrop, gifBackdrop } from "./gif-backdrop.js";
import { orientationOf, turnUpright } from "./orientation.js";
import type { ImageSize, RgbPixels } from "./pixels.js";
import { imageLibrary } from "./sharp.js";
import { backgroundOf, type StoredPixels, storedAs } from "./stored.js";
import { unreadable } from "./unreadable.js";
import { ycbcrToRgb } from "./ycbcr.js";

const WITH_SIZE = { resolveWithObject: true } as const;

export interface DecodeOptions extends DecodingLimits {
  /** Width times height above which an image is refused. */
  maxPixels: number;
}

/**
 * Decodes an image to upright 8-bit RGB with the values that Pillow's `convert("RGB")` gives: alpha is dropped, not
 * blended; colour profiles and gamma are ignored; CMYK is converted without a profile; of several frames or pages the
 * first counts. Samples of 16 bits keep their upper 8, also where they are grey: there Pillow clips everything above
 * 255 to white. AVIF with subsampled colour differs by a few levels at edges, as two decoders' interpolation does.
 *
 * @throws `ERR_IMAGE` for what is not an image, or is broken, truncated or too large, and for samples that are
 *   neither 8 nor 16 bits wide.
 */
export async function decode(encoded: Uint8Array, options: DecodeOptions): Promise<RgbPixels> {
  return await decodeBy(decodeColours, encoded, options);
}

/** As {@link decode}, with what is needed to resize the image in the form in which its file holds it, as Pillow does. */
export async function decodeStored(encoded: Uint8Array, options: DecodeOptions): Promise<StoredPixels> {
  return await decodeBy(decodeAll, encoded, options);
}

/**
 * The size of the upright image that {@link decode} gives, from what the file says of itself: its pixels are not decoded.
 *
 * @throws as {@link decode}, except for damage of the pixels
 */
export async function decodeSize(encoded: Uint8Array, options: DecodeOptions): Promise<ImageSize> {
  return await decodeBy(sizeOf, encoded, options);
}

/** Decodes the first image of a file, of which the metadata have been checked. */
type Decode<T> = (picture: FirstPicture, metadata: Metadata, options: DecodeOptions, decoder: Decoder) => Promise<T>;

const decodeColours: Decode<RgbPixels> = (picture, metadata, options, decoder) =>
  decoder(() => decodePixels(picture, metadata, options));

const decodeAll: Decode<StoredPixels> = async (picture, metadata, options, decoder) => {
  const pixels = await decodeColours(picture, metadata, options, decoder);
  const form = storedAs(picture.bytes, metadata);
  const background = backgroundOf(picture.bytes, metadata);
  if (!metadata.hasAlpha) return { ...pixels, form, background };
  return { ...pixels, form, background, alpha: await decoder(() => decodeAlpha(picture, metadata, options)) };
};

const sizeOf: Decode<ImageSize> = async ({ ycbcr }, metadata) => {
  const { width, height } = { ...metadata, ...ycbcr };
  // From 5 on an orientation is a quarter turn.
  return orientationOf(metadata) >= 5 ? { width: height, height: width } : { width, height };
};

async function decodeBy<T>(how: Decode<T>, encoded: Uint8Array, options: DecodeOptions): Promise<T> {
  const { name } = options;
  // A copy, since the caller could modify the bytes while the decoder's threads read them.
  const bytes = Buffer.from(encoded);
  const format = identifyFormat(bytes);
  if (bytes.length === 0) throw unreadable(name, "is empty");
  if (!format) throw unreadable(name, "is not an image in a known format");
  if (!format.readable) throw unreadable(name, `is ${format.name}; give a PNG, JPEG, WebP, GIF, TIFF or AVIF image`);
  return withinLimits(options, async (decoder) => {
    try {
      return await decodeAs(how, format, bytes, options, decoder);
    } catch (error) {
      if (error instanceof InstructPix2PixError) throw error;
      throw isTimeout(error) ? tooSlow(options, error) : unreadable(name, describe(error, format.name), error);
    }
  });
}

async function decodeAs<T>(
  how: Decode<T>,
  format: FileFormat,
  bytes: Buffer,
  options: DecodeOptions,
  decoder: Decoder,
): Promise<T> {
  const picture = (await format.firstPicture?.(bytes, options.maxPixels)) ?? { bytes };
  const metadata = await decoder(() => open(picture.bytes, false).metadata());
  checkMetadata({ ...metadata, ...picture.ycbcr }, options);
  return how(picture, metadata, options, decoder);
}

/** Whether libvips stopped at its own time limit. */
export function isTimeout(error: unknown): boolean {
  return isError(error) && error.message.startsWith("timeout: ");
}

function open(bytes: Buffer, maxPixels: number | false): Sharp {
  // "error" matches Pillow: missing data and wrong checksums are errors, unusual markers are not.
  return imageLibrary()(bytes, { failOn: "error", ignoreIcc: true, limitInputPixels: maxPixels });
}

function checkMetadata(
  { width, height, depth }: Pick<Metadata, "width" | "height" | "depth">,
  { maxPixels, name }: DecodeOptions,
): void {
  if (width * height > maxPixels)
    throw unreadable(name, `has ${width}×${height} pixels, more than the limit of ${maxPixels} (maxPixels)`);
  if (depth !== "uchar" && depth !== "ushort")
    throw unreadable(name, `has samples of type ${depth}; convert it to 8 or 16 bits per channel`);
}

/** The time limit of a sharp pipeline, which knows whole seconds. */
export function withTimeout(pipeline: Sharp, timeoutMs: number): Sharp {
  return pipeline.timeout({ seconds: Math.min(3600, Math.ceil(timeoutMs / 1000)) });
}

async function decodePixels(
  { bytes, ycbcr }: FirstPicture,
  metadata: Metadata,
  { maxPixels, timeoutMs }: DecodeOptions,
): Promise<RgbPixels> {
  const upright = (picture: Sharp) => withTimeout(turnUpright(picture, orientationOf(metadata)), timeoutMs);
  if (ycbcr) {
    const samples = await withTimeout(open(bytes, false), timeoutMs).toColourspace("b-w").raw().toBuffer();
    const { data, width, height } = await ycbcrToRgb(samples, ycbcr);
    return pixelsOf(
      await upright(imageLibrary()(data, { raw: { width, height, channels: 3 } }))
        .raw()
        .toBuffer(WITH_SIZE),
    );
  }
  const picture = upright(open(bytes, maxPixels));
  if (metadata.space === "cmyk") {
    const ink = picture.removeAlpha().pipelineColourspace("cmyk").toColourspace("cmyk");
    const { data, info } = await ink.raw({ depth: metadata.depth }).toBuffer(WITH_SIZE);
    const samples = metadata.depth === "ushort" ? new Uint16Array(view(data).slice().buffer) : view(data);
    return { width: info.width, height: info.height, data: await cmykToRgb(samples) };
  }
  const rgb = picture.toColourspace("srgb");
  const backdrop = metadata.format === "gif" ? gifBackdrop(bytes) : undefined;
  if (backdrop && showsBackdrop(metadata, backdrop)) {
    const { data, info } = await rgb.ensureAlpha().raw().toBuffer(WITH_SIZE);
    return { width: info.width, height: info.height, data: await coverBackdrop(data, info.width, backdrop) };
  }
  return pixelsOf(await rgb.removeAlpha().raw().toBuffer(WITH_SIZE));
}

async function decodeAlpha(
  { bytes }: FirstPicture,
  metadata: Metadata,
  { maxPixels, timeoutMs }: DecodeOptions,
): Promise<Uint8Array> {
  const picture = withTimeout(turnUpright(open(bytes, maxPixels), orientationOf(metadata)), timeoutMs);
  return view(await picture.extractChannel("alpha").toColourspace("b-w").raw({ depth: "uchar" }).toBuffer());
}

function pixelsOf({ data, info }: { data: Buffer; info: OutputInfo }): RgbPixels {
  if (info.channels !== 3) throw new Error(`decoded to ${info.channels} channels instead of 3`);
  return { width: info.width, height: info.height, data: view(data) };
}

function showsBackdrop(metadata: Metadata, { left, top, right, bottom }: GifBackdrop): boolean {
  return metadata.hasAlpha || left > 0 || top > 0 || right < metadata.width || bottom < metadata.height;
}

function view(data: Buffer): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

/** A single line from libvips' error log. */
function describe(error: unknown, format: string): string {
  if (error instanceof Refusal) return error.message;
  if (error instanceof RangeError) return `is ${format} that ends too early or is damaged`;
  const message = isError(error) ? error.message : String(error);
  if (message.includes("unsupported image format")) return `is ${format}, which this build of sharp cannot decode`;
  const reason = message
    .replace(/^Input (buffer|file) has corrupt header: /, "")
    .split("\n", 1)[0]!
    .trim();
  return `is ${format} that cannot be decoded: ${reason}`;
}

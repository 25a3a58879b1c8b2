import type { Metadata, Sharp } from "sharp";
import { InstructPix2PixError, isError } from "../errors.js";
import { cmykToRgb } from "./cmyk.js";
import { identifyFormat } from "./format.js";
import { coverBackdrop, type GifBackdrop, gifBackdrop } from "./gif.js";
import { orientationOf, turnUpright } from "./orientation.js";
import type { RgbPixels } from "./pixels.js";
import { imageLibrary } from "./sharp.js";

export interface DecodeOptions {
  /** Width times height above which a picture is refused. */
  maxPixels: number;
  /** Milliseconds that decoding may take. */
  timeoutMs: number;
  /** What errors call the picture. */
  name: string;
}

/**
 * Decodes a picture to upright 8-bit RGB with the values that Pillow's `convert("RGB")` gives: alpha is dropped, not
 * blended; colour profiles and gamma are ignored; CMYK is converted without a profile; of several frames or pages the
 * first counts. Samples of 16 bits keep their upper 8, also where they are grey: there Pillow clips everything above
 * 255 to white. AVIF with subsampled colour differs by a few levels at edges, as two decoders' interpolation does.
 *
 * @throws `ERR_IMAGE` for what is not a picture, or is broken, truncated or too large, and for samples that are
 *   neither 8 nor 16 bits wide.
 */
export async function decode(encoded: Uint8Array, options: DecodeOptions): Promise<RgbPixels> {
  const { name } = options;
  // A copy, so that nothing changes under the decoder's threads.
  const bytes = relabelSequence(Buffer.from(encoded));
  const format = identifyFormat(bytes);
  if (bytes.length === 0) throw unreadable(name, "is empty");
  if (!format) throw unreadable(name, "is not a picture in a format known here");
  if (!format.readable) throw unreadable(name, `is ${format.name}; give a PNG, JPEG, WebP, GIF, TIFF or AVIF picture`);
  try {
    const metadata = await open(bytes, false).metadata();
    checkMetadata(metadata, options);
    return await decodeAs(bytes, metadata, options);
  } catch (error) {
    if (error instanceof InstructPix2PixError) throw error;
    throw unreadable(name, describe(error, format.name), error);
  }
}

/** The error for a picture that cannot be used; `problem` continues a sentence that begins with its name. */
export function unreadable(name: string, problem: string, cause?: unknown): InstructPix2PixError {
  return new InstructPix2PixError("ERR_IMAGE", `${name} ${problem}`, cause === undefined ? undefined : { cause });
}

function open(bytes: Buffer, maxPixels: number | false): Sharp {
  // "error" accepts and refuses what Pillow does: missing data and wrong checksums are errors, odd markers are not.
  return imageLibrary()(bytes, { failOn: "error", ignoreIcc: true, limitInputPixels: maxPixels });
}

function checkMetadata({ width, height, depth }: Metadata, { maxPixels, name }: DecodeOptions): void {
  if (width * height > maxPixels)
    throw unreadable(name, `has ${width}×${height} pixels, more than the limit of ${maxPixels} (maxPixels)`);
  if (depth !== "uchar" && depth !== "ushort")
    throw unreadable(name, `has samples of type ${depth}; convert it to 8 or 16 bits per channel`);
}

async function decodeAs(bytes: Buffer, metadata: Metadata, options: DecodeOptions): Promise<RgbPixels> {
  const seconds = Math.min(3600, Math.ceil(options.timeoutMs / 1000));
  const picture = turnUpright(open(bytes, options.maxPixels), orientationOf(metadata)).timeout({ seconds });

  if (metadata.space === "cmyk") {
    const ink = picture.removeAlpha().pipelineColourspace("cmyk").toColourspace("cmyk");
    const { data, info } = await ink.raw({ depth: metadata.depth }).toBuffer({ resolveWithObject: true });
    const samples = metadata.depth === "ushort" ? new Uint16Array(view(data).slice().buffer) : view(data);
    return { width: info.width, height: info.height, data: await cmykToRgb(samples) };
  }
  const rgb = picture.toColourspace("srgb");
  const backdrop = metadata.format === "gif" ? gifBackdrop(bytes) : undefined;
  if (backdrop && showsBackdrop(metadata, backdrop)) {
    const { data, info } = await rgb.ensureAlpha().raw().toBuffer({ resolveWithObject: true });
    return { width: info.width, height: info.height, data: await coverBackdrop(data, info.width, backdrop) };
  }
  const { data, info } = await rgb.removeAlpha().raw().toBuffer({ resolveWithObject: true });
  if (info.channels !== 3) throw new Error(`decoded to ${info.channels} channels instead of 3`);
  return { width: info.width, height: info.height, data: view(data) };
}

function showsBackdrop(metadata: Metadata, { left, top, right, bottom }: GifBackdrop): boolean {
  return metadata.hasAlpha || left > 0 || top > 0 || right < metadata.width || bottom < metadata.height;
}

function view(data: Buffer): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

/** Lets libvips read an AVIF sequence, whose still picture it would decode but whose major brand it does not know. */
function relabelSequence(bytes: Buffer): Buffer {
  if (bytes.toString("latin1", 4, 12) === "ftypavis") bytes.write("avif", 8, "latin1");
  return bytes;
}

/** One line from libvips' many. */
function describe(error: unknown, format: string): string {
  const message = isError(error) ? error.message : String(error);
  if (message.includes("unsupported image format")) return `is ${format}, which this build of sharp cannot decode`;
  const reason = message
    .replace(/^Input (buffer|file) has corrupt header: /, "")
    .split("\n", 1)[0]!
    .trim();
  return `is ${format} that cannot be decoded: ${reason}`;
}

import { extname } from "node:path";
import type { Sharp } from "sharp";
import { InstructPix2PixError, isError } from "../core/errors.js";
import { checkOptions, optionNames } from "../core/known-options.js";
import type { RgbPixels } from "./pixels.js";
import { imageLibrary } from "./sharp.js";

/** The supported output formats. */
export const IMAGE_FORMATS = ["png", "jpeg", "webp", "avif", "tiff", "gif"] as const;
/** The format of an image file. */
export type ImageFormat = (typeof IMAGE_FORMATS)[number];

/** Other names of formats, as file names have them. */
const ALIASES = { jpg: "jpeg", tif: "tiff" } as const satisfies Record<string, ImageFormat>;
/** Another name of an image format. */
export type ImageFormatAlias = keyof typeof ALIASES;

/** Options of encoding an image to a file's bytes. */
export interface EncodeOptions {
  /**
   * 1 to 100, for JPEG and WebP (default 90, JPEG with full colour resolution) and AVIF (default 70). PNG and TIFF keep
   * every pixel; GIF has at most 256 colours.
   */
  quality?: number;
  /** Keep every pixel in WebP and AVIF too; default false. */
  lossless?: boolean;
}

const OPTIONS = optionNames<EncodeOptions>()({ quality: true, lossless: true });

const EXTENSIONS: Record<string, ImageFormat> = {
  ".png": "png",
  ".jpg": "jpeg",
  ".jpeg": "jpeg",
  ".webp": "webp",
  ".avif": "avif",
  ".tif": "tiff",
  ".tiff": "tiff",
  ".gif": "gif",
};

/**
 * The format that a file name's extension asks for, in either case.
 *
 * @throws `ERR_IMAGE` for another extension, or none.
 */
export function imageFormatOf(path: string): ImageFormat {
  const extension = extname(path);
  const format = EXTENSIONS[extension.toLowerCase()];
  if (format) return format;
  const problem = extension ? `"${extension}" is not an image format that can be written` : "it has no extension";
  throw new InstructPix2PixError(
    "ERR_IMAGE",
    `cannot tell how to encode "${path}": ${problem}; use ${Object.keys(EXTENSIONS).join(", ")}`,
  );
}

/** A sharp pipeline that starts from these pixels. */
export function toSharp({ width, height, data }: RgbPixels): Sharp {
  // sharp only accepts typed arrays of its own realm; a Buffer always is.
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  return imageLibrary()(bytes, { raw: { width, height, channels: 3 }, limitInputPixels: false });
}

/**
 * Encodes an image.
 *
 * @throws `ERR_INVALID_ARGUMENT` for an unknown format or a quality outside 1..100, `ERR_IMAGE` if the format cannot
 *   hold an image of this size.
 */
export async function encode(
  pixels: RgbPixels,
  name: ImageFormat | ImageFormatAlias,
  options: EncodeOptions = {},
): Promise<Buffer> {
  const format = Object.hasOwn(ALIASES, name) ? ALIASES[name as ImageFormatAlias] : (name as ImageFormat);
  const { quality, lossless = false } = checkOptions(options, OPTIONS);
  if (quality !== undefined && !(Number.isInteger(quality) && quality >= 1 && quality <= 100))
    throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", `quality is a whole number from 1 to 100, not ${quality}`);
  const picture = toSharp(pixels);
  try {
    return await configure(picture, format, quality, lossless).toBuffer();
  } catch (error) {
    if (error instanceof InstructPix2PixError) throw error;
    const reason = isError(error) ? error.message.split("\n", 1)[0] : String(error);
    throw new InstructPix2PixError(
      "ERR_IMAGE",
      `an image of ${pixels.width}×${pixels.height} pixels cannot be encoded as ${format}: ${reason}`,
      { cause: error },
    );
  }
}

function configure(picture: Sharp, format: ImageFormat, quality: number | undefined, lossless: boolean): Sharp {
  switch (format) {
    case "png":
      return picture.png();
    case "jpeg":
      return picture.jpeg({ quality: quality ?? 90, chromaSubsampling: "4:4:4" });
    case "webp":
      return picture.webp({ quality: quality ?? 90, lossless });
    case "avif":
      return picture.avif({ quality: quality ?? 70, lossless });
    case "tiff":
      return picture.tiff({ compression: "deflate" });
    case "gif":
      return picture.gif();
    default:
      throw new InstructPix2PixError(
        "ERR_INVALID_ARGUMENT",
        `unknown image format "${String(format)}"; use ${IMAGE_FORMATS.join(", ")}`,
      );
  }
}

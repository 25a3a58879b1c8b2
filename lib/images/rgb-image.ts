import { types } from "node:util";
import type { Sharp } from "sharp";
import { InstructPix2PixError } from "../core/errors.js";
import {
  type EncodeOptions,
  encode,
  type ImageFormat,
  type ImageFormatAlias,
  imageFormatOf,
  toSharp,
} from "./encode.js";
import { type EncodedSource, type LoadImageOptions, loadPixels } from "./load.js";
import type { RgbPixels } from "./pixels.js";
import { type ResampleFilter, resizePixels, sizeForFactor } from "./resize.js";
import { writeFileAtomically } from "./write-file.js";

/** Anything that an image can be created from. */
export type ImageSource = EncodedSource | RgbImage;

/**
 * An image in memory: interleaved 8-bit RGB, rows from top to bottom. Methods never modify it in place.
 *
 * @example
 * ```js
 * import { RgbImage } from "instruct-pix2pix";
 *
 * const grey = new RgbImage(64, 64, new Uint8Array(64 * 64 * 3).fill(128));
 * const png = await grey.encode("png");
 * console.log(png.length);
 * ```
 */
export class RgbImage implements RgbPixels {
  /** Width in pixels. */
  readonly width: number;
  /** Height in pixels. */
  readonly height: number;
  /** height · width · 3 bytes: `data[(y · width + x) · 3 + channel]`. */
  readonly data: Uint8Array;

  /**
   * Wraps pixels without copying them.
   *
   * @throws `ERR_INVALID_ARGUMENT` if the sizes are not whole numbers of at least 1, or the data has another length.
   */
  constructor(width: number, height: number, data: Uint8Array) {
    if (!Number.isInteger(width) || !Number.isInteger(height) || width < 1 || height < 1)
      throw new InstructPix2PixError(
        "ERR_INVALID_ARGUMENT",
        `an image has at least one pixel on each side, not ${width}×${height}`,
      );
    if (!types.isUint8Array(data) || data.length !== width * height * 3)
      throw new InstructPix2PixError(
        "ERR_INVALID_ARGUMENT",
        `an image of ${width}×${height} RGB pixels takes a Uint8Array of ${width * height * 3} bytes`,
      );
    this.width = width;
    this.height = height;
    this.data = data;
  }

  private static of({ width, height, data }: RgbPixels): RgbImage {
    return new RgbImage(width, height, data);
  }

  /** Reads an image; see {@link loadImage}. */
  static async load(source: ImageSource, options: LoadImageOptions = {}): Promise<RgbImage> {
    return source instanceof RgbImage ? source : RgbImage.of(await loadPixels(source, options));
  }

  /** Renders a sharp pipeline, upright and without alpha; the instance itself can still be used. */
  static fromSharp(pipeline: Sharp, options: LoadImageOptions = {}): Promise<RgbImage> {
    return RgbImage.load(pipeline, options);
  }

  /** A sharp pipeline that starts from these pixels. */
  toSharp(): Sharp {
    return toSharp(this);
  }

  /**
   * Encodes the image.
   *
   * @param format "jpg" and "tif" are the same as "jpeg" and "tiff"
   * @throws `ERR_INVALID_ARGUMENT` for an unknown format or option, `ERR_IMAGE` if the format cannot hold the image.
   */
  encode(format: ImageFormat | ImageFormatAlias, options: EncodeOptions = {}): Promise<Buffer> {
    return encode(this, format, options);
  }

  /**
   * Writes the image to a file in the format of its extension (png, jpg, jpeg, webp, avif, tif, tiff, gif). The file
   * is written atomically.
   *
   * @throws `ERR_IMAGE` for another extension, `ERR_IO` if the folder does not exist or the file cannot be written.
   */
  async save(path: string, options: EncodeOptions = {}): Promise<void> {
    const format = imageFormatOf(path);
    await writeFileAtomically(path, await this.encode(format, options));
  }

  /**
   * Resizes with exactly the values of Pillow's `Image.resize`; the aspect ratio is not kept automatically.
   *
   * @throws `ERR_INVALID_ARGUMENT` for a size below 1 or an unknown filter.
   */
  async resize(width: number, height: number, filter: ResampleFilter = "lanczos"): Promise<RgbImage> {
    return RgbImage.of(await resizePixels(this, width, height, filter));
  }

  /**
   * Resizes with Lanczos so that both sides are multiples of `factor`, each rounded down, as diffusers'
   * `VaeImageProcessor` does.
   *
   * @throws `ERR_IMAGE` if a side is shorter than the factor.
   */
  async toMultipleOf(factor: number): Promise<RgbImage> {
    const { width, height } = sizeForFactor(this, factor);
    return this.resize(width, height, "lanczos");
  }

  /** Whether the other image has the same size and the same pixels. */
  equals(other: RgbPixels): boolean {
    return this.width === other.width && this.height === other.height && Buffer.compare(this.data, other.data) === 0;
  }
}

import { InstructPix2PixError } from "../core/errors.js";
import { ofThisRealm } from "../core/realm.js";
import { native } from "../runtime/native.js";
import type { RgbPixels } from "./pixels.js";

/** Pillow's resampling filters. */
export const RESAMPLE_FILTERS = ["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"] as const;
/** A filter of resizing, as Pillow names and computes it. */
export type ResampleFilter = (typeof RESAMPLE_FILTERS)[number];

/** The longest supported side; no output format supports longer ones. */
export const MAX_SIDE = 1 << 20;

/** Whether images can be resized to this many pixels along a side. */
export function isSide(size: unknown): boolean {
  return Number.isInteger(size) && (size as number) >= 1 && (size as number) <= MAX_SIDE;
}

/**
 * Resizes an image with exactly the values of Pillow's `Image.resize`. Equal sizes give the same pixels.
 *
 * @param reducing first reduces the image by whole factors, as Pillow does for `reducing_gap=1`
 * @throws `ERR_INVALID_ARGUMENT` for a size that is not a whole number of at least 1, or an unknown filter.
 */
export async function resizePixels(
  pixels: RgbPixels,
  width: number,
  height: number,
  filter: ResampleFilter,
  reducing = false,
): Promise<RgbPixels> {
  for (const [what, size] of Object.entries({ width, height }))
    if (!isSide(size))
      throw new InstructPix2PixError(
        "ERR_INVALID_ARGUMENT",
        `${what} is a whole number from 1 to ${MAX_SIDE}, not ${size}`,
      );
  if (!RESAMPLE_FILTERS.includes(filter))
    throw new InstructPix2PixError(
      "ERR_INVALID_ARGUMENT",
      `unknown resampling filter "${String(filter)}"; use ${RESAMPLE_FILTERS.join(", ")}`,
    );
  if (width === pixels.width && height === pixels.height) return pixels;
  const data = await native().resize(pixels.data, pixels.width, pixels.height, 3, width, height, filter, reducing);
  return { width, height, data: ofThisRealm(data) };
}

/**
 * The input size for an autoencoder that downsamples by `factor`: each side rounded down to a multiple.
 *
 * @throws `ERR_IMAGE` if a side is shorter than the factor.
 */
export function sizeForFactor(
  { width, height }: Pick<RgbPixels, "width" | "height">,
  factor: number,
): { width: number; height: number } {
  if (!Number.isInteger(factor) || factor < 1)
    throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", `the factor is a whole number of at least 1, not ${factor}`);
  if (width < factor || height < factor)
    throw new InstructPix2PixError(
      "ERR_IMAGE",
      `an image of ${width}×${height} pixels is too small: this model needs at least ${factor} on each side`,
    );
  return { width: width - (width % factor), height: height - (height % factor) };
}

/**
 * The size of an image whose longer side is to have at most `maxSize` pixels: its proportions are kept as far as multiples of
 * `factor` allow. An image that is not larger is only rounded down, as by {@link sizeForFactor}.
 *
 * @param maxSize at least `factor`
 * @throws `ERR_IMAGE` if a side is shorter than the factor.
 */
export function sizeWithin(
  picture: Pick<RgbPixels, "width" | "height">,
  maxSize: number,
  factor: number,
): { width: number; height: number } {
  const rounded = sizeForFactor(picture, factor);
  const longest = Math.max(picture.width, picture.height);
  if (longest <= maxSize) return rounded;
  const limit = maxSize - (maxSize % factor);
  const scaled = (side: number) => Math.max(1, Math.round((side * limit) / longest / factor)) * factor;
  return { width: scaled(picture.width), height: scaled(picture.height) };
}

import { InstructPix2PixError } from "../core/errors.js";
import { type Box, composite, fitAround, paste } from "../images/fit.js";
import type { RgbPixels } from "../images/pixels.js";
import { RgbImage } from "../images/rgb-image.js";
import { greyOf, type StoredPixels } from "../images/stored.js";

/**
 * The part of an image to paint in at a higher resolution: what is not black in the mask, with a margin, extended to the
 * proportions of the size that is painted, as far as the image reaches.
 *
 * @param pad pixels of the margin
 * @throws `ERR_INVALID_ARGUMENT` for a mask that is black everywhere
 */
export function cropRegion(mask: StoredPixels, size: { width: number; height: number }, pad: number): Box {
  const { width, height } = mask;
  const marked = bounds(mask);
  const left = Math.max(marked.left - pad, 0);
  const top = Math.max(marked.top - pad, 0);
  const right = Math.min(marked.right + pad, width);
  const bottom = Math.min(marked.bottom + pad, height);
  if (right <= left || bottom <= top)
    throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", "the mask is black: there is nothing to paint anew");
  const proportions = size.width / size.height;
  if ((right - left) / (bottom - top) > proportions) {
    const [from, to] = extended(top, bottom, (right - left) / proportions, height);
    return { left, right, top: from, bottom: to };
  }
  const [from, to] = extended(left, right, (bottom - top) * proportions, width);
  return { left: from, right: to, top, bottom };
}

/** @throws `ERR_INVALID_ARGUMENT` */
export function checkMaskSize(
  picture: { width: number; height: number },
  mask: { width: number; height: number },
): void {
  if (mask.width === picture.width && mask.height === picture.height) return;
  throw new InstructPix2PixError(
    "ERR_INVALID_ARGUMENT",
    `with paddingMaskCrop the mask must have the image's size, ${picture.width}×${picture.height}, not ${mask.width}×${mask.height}`,
  );
}

/** What is not black; left and right are swapped, as are top and bottom, if all of it is. */
function bounds(mask: StoredPixels): Box {
  const { width, height } = mask;
  const grey = greyOf(mask);
  let [left, top, right, bottom] = [width, height, 0, 0];
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      if (grey[y * width + x] === 0) continue;
      left = Math.min(left, x);
      right = Math.max(right, x + 1);
      top = Math.min(top, y);
      bottom = y + 1;
    }
  return { left, top, right, bottom };
}

/** An interval made longer on both sides, moved and cut so that it lies in 0..end. */
function extended(from: number, to: number, length: number, end: number): [number, number] {
  const more = Math.trunc(length - (to - from));
  let low = from - Math.floor(more / 2);
  let high = to + more - Math.floor(more / 2);
  if (high >= end) [low, high] = [low - (high - end), end];
  if (low < 0) [low, high] = [0, high - low];
  return [low, Math.min(high, end)];
}

/** Puts a painted part back into the image that it was cut from: where the mask is black the original stays. */
export async function overlaid(
  painted: RgbPixels,
  { original, mask, region }: { original: StoredPixels; mask: StoredPixels; region: Box },
): Promise<RgbImage> {
  const { width, height } = original;
  const { left, top, right, bottom } = region;
  const part = await fitAround({ ...painted, form: "colour" }, right - left, bottom - top);
  const below = new Uint8Array(width * height * 3);
  paste(below, original, part, left, top);
  const stays = greyOf(mask).map((value) => 255 - value);
  return new RgbImage(width, height, composite(below, original, stays));
}

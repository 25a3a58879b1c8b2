import { InstructPix2PixError } from "../core/errors.js";
import { type ImageSource, type LoadImageOptions, loadImage, RgbImage } from "../images/index.js";
import { inSlices } from "../images/pixels.js";
import { sizeForFactor } from "../images/resize.js";
import { greyOf } from "./mask.js";

interface Size {
  width: number;
  height: number;
}

/** A part of a picture, in pixels. */
interface Region extends Size {
  left: number;
  top: number;
}

/**
 * The part of a picture that holds everything that a mask does not leave black, with a margin, and enlarged towards the
 * shape in which it is computed, as far as the picture reaches.
 *
 * @param padding the margin in pixels
 * @param target the size in which the part is computed
 * @throws `ERR_INVALID_ARGUMENT` if everything is black
 */
export function maskedRegion(mask: RgbImage, target: Size, padding: number): Region {
  const grey = greyOf(mask);
  const [left, right] = span(mask.width, padding, (x) => hasInk(grey, x, mask.width, mask.height));
  const [top, bottom] = span(mask.height, padding, (y) => hasInk(grey, y * mask.width, 1, mask.width));
  if (right <= left || bottom <= top)
    throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", "the mask is black: there is nothing to paint anew");
  const ratio = target.width / target.height;
  const [width, height] = [right - left, bottom - top];
  const [x, y] =
    width / height > ratio
      ? [{ from: left, to: right }, enlarged(top, bottom, Math.trunc(width / ratio - height), mask.height)]
      : [enlarged(left, right, Math.trunc(height * ratio - width), mask.width), { from: top, to: bottom }];
  return { left: x.from, top: y.from, width: x.to - x.from, height: y.to - y.from };
}

/** From the first to behind the last of `length` lines that hold something, and the margin. */
function span(length: number, padding: number, holds: (line: number) => boolean): [number, number] {
  let first = 0;
  while (first < length && !holds(first)) first++;
  let last = length;
  while (last > 0 && !holds(last - 1)) last--;
  return [Math.max(first - padding, 0), Math.min(last + padding, length)];
}

function hasInk(grey: Uint8Array, start: number, step: number, count: number): boolean {
  for (let i = 0; i < count; i++) if (grey[start + i * step] !== 0) return true;
  return false;
}

/** A span that is enlarged on both sides, and moved back inside if it reaches out. */
function enlarged(from: number, to: number, by: number, length: number): { from: number; to: number } {
  const before = Math.floor(by / 2);
  const over = Math.max(to + by - before - length, 0);
  const start = from - before - over;
  const end = to + by - before - over;
  return start < 0 ? { from: 0, to: Math.min(end - start, length) } : { from: start, to: end };
}

/** A cut-out part, and what it was cut out of. */
export interface CutOut {
  picture: RgbImage;
  mask: RgbImage;
  region: Region;
  /** The part of the picture and of the mask, in the size in which they are computed. */
  part: { image: RgbImage; maskImage: RgbImage };
}

/**
 * Cuts out the masked part of a picture.
 *
 * @param target the size in which the part is computed; both edges multiples of `factor`, or rounded down
 * @param padding the margin in pixels
 * @throws `ERR_INVALID_ARGUMENT` for a mask that is black, or of another size than the picture; what {@link loadImage} throws
 */
export async function cutOutMasked(
  given: { image: ImageSource; maskImage: ImageSource },
  { target, factor, padding, ...options }: LoadImageOptions & { target: Size; factor: number; padding: number },
): Promise<CutOut> {
  const picture = await loadImage(given.image, options);
  const mask = await loadImage(given.maskImage, options);
  checkMaskSize(picture, mask);
  const region = maskedRegion(mask, target, padding);
  const size = sizeForFactor(target, factor);
  const cut = (whole: RgbImage) => resizeAndFill(crop(whole, region), size);
  return { picture, mask, region, part: { image: await cut(picture), maskImage: await cut(mask) } };
}

/** @throws `ERR_INVALID_ARGUMENT` */
export function checkMaskSize(picture: Size, mask: Size): void {
  if (picture.width === mask.width && picture.height === mask.height) return;
  throw new InstructPix2PixError(
    "ERR_INVALID_ARGUMENT",
    `with paddingMaskCrop the mask must have the picture's size, ${picture.width}×${picture.height}, not ${mask.width}×${mask.height}`,
  );
}

function crop({ width: stride, data }: RgbImage, { left, top, width, height }: Region): RgbImage {
  const part = new Uint8Array(width * height * 3);
  for (let y = 0; y < height; y++) {
    const start = ((top + y) * stride + left) * 3;
    part.set(data.subarray(start, start + width * 3), y * width * 3);
  }
  return new RgbImage(width, height, part);
}

/**
 * Resizes a picture with Lanczos to fit into a size, centred; what is left over on two sides is filled with the colours of
 * the edges, which are extrapolated as Pillow's bicubic resizing of an empty box does it.
 */
export async function resizeAndFill(picture: RgbImage, target: Size): Promise<RgbImage> {
  const { width, height } = target;
  const wider = picture.width / picture.height > width / height;
  const inner = await picture.resize(
    wider ? width : Math.floor((picture.width * height) / picture.height),
    wider ? Math.floor((picture.height * width) / picture.width) : height,
    "lanczos",
  );
  const left = Math.floor(width / 2) - Math.floor(inner.width / 2);
  const top = Math.floor(height / 2) - Math.floor(inner.height / 2);
  const result = new Uint8Array(width * height * 3);
  const { data } = inner;
  const last = { x: inner.width - 1, y: inner.height - 1 };
  const next = { x: Math.min(1, last.x), y: Math.min(1, last.y) };
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      const [column, row] = [x - left, y - top];
      const at = (column: number, row: number) => 3 * (row * inner.width + column);
      const inside = at(Math.min(Math.max(column, 0), last.x), Math.min(Math.max(row, 0), last.y));
      // One of the two is inside.
      const beside = at(
        column < 0 ? next.x : column > last.x ? last.x - next.x : column,
        row < 0 ? next.y : row > last.y ? last.y - next.y : row,
      );
      const target = 3 * (y * width + x);
      for (let c = 0; c < 3; c++)
        result[target + c] =
          column < 0 || column > last.x || row < 0 || row > last.y
            ? Math.min(255, Math.max(0, Math.floor((9 * data[inside + c]! - data[beside + c]!) / 8 + 0.5)))
            : data[inside + c]!;
    }
  return new RgbImage(width, height, result);
}

/** Resizes a picture with Lanczos to cover a size, and cuts off what reaches out on two sides. */
async function resizeAndCrop(picture: RgbImage, { width, height }: Size): Promise<RgbImage> {
  const wider = width / height > picture.width / picture.height;
  const outer = await picture.resize(
    wider ? width : Math.floor((picture.width * height) / picture.height),
    wider ? Math.floor((picture.height * width) / picture.width) : height,
    "lanczos",
  );
  return crop(outer, {
    left: Math.floor(outer.width / 2) - Math.floor(width / 2),
    top: Math.floor(outer.height / 2) - Math.floor(height / 2),
    width,
    height,
  });
}

/**
 * Puts a painted part back into a picture, and shows the picture through it where the mask is not white. Rounds to 8 bits
 * where Pillow's compositing does.
 */
export async function putIntoPicture(
  painted: RgbImage,
  { picture, mask, region }: Omit<CutOut, "part">,
): Promise<RgbImage> {
  const part = await resizeAndCrop(painted, region);
  const grey = greyOf(mask);
  const { width, height } = picture;
  const result = new Uint8Array(width * height * 3);
  await inSlices(width * height, (from, to) => {
    for (let pixel = from; pixel < to; pixel++) {
      const opacity = 255 - grey[pixel]!;
      const [column, row] = [(pixel % width) - region.left, Math.floor(pixel / width) - region.top];
      const inside = column >= 0 && column < region.width && row >= 0 && row < region.height;
      for (let c = 0; c < 3; c++) {
        const below = inside ? part.data[3 * (row * region.width + column) + c]! : 0;
        result[3 * pixel + c] = composite(picture.data[3 * pixel + c]!, opacity, below);
      }
    }
  });
  return new RgbImage(width, height, result);
}

/** A colour over another: premultiplied, divided again, and blended. */
function composite(colour: number, opacity: number, below: number): number {
  if (opacity === 0) return below;
  const premultiplied = dividedBy255(colour * opacity + 128);
  const again = opacity === 255 ? premultiplied : Math.min(255, Math.floor((255 * premultiplied) / opacity));
  return dividedBy255((again * opacity + below * (255 - opacity) + 128) * 128) >> 7;
}

function dividedBy255(value: number): number {
  return ((value >> 8) + value) >> 8;
}

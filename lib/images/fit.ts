import type { ResampleFilter } from "./resize.js";
import {
  blended,
  divideBy255,
  fromRgba,
  premultiplied,
  resizeStored,
  rgbaOf,
  type StoredPixels,
  unpremultiplied,
} from "./stored.js";

/** A rectangle of an image: left and top inside, right and bottom outside. */
export interface Box {
  readonly left: number;
  readonly top: number;
  readonly right: number;
  readonly bottom: number;
}

/** Cuts out a rectangle; what lies outside of the image is black and transparent. */
export function crop(picture: StoredPixels, { left, top, right, bottom }: Box): StoredPixels {
  const { width, height, form } = picture;
  const [w, h] = [right - left, bottom - top];
  const source = rgbaOf(picture);
  const target = new Uint8Array(w * h * 4);
  const [from, to] = [Math.max(left, 0), Math.min(right, width)];
  for (let y = Math.max(top, 0); y < Math.min(bottom, height); y++)
    target.set(source.subarray(4 * (y * width + from), 4 * (y * width + to)), 4 * ((y - top) * w + from - left));
  return { ...fromRgba(w, h, target, form), background: picture.background };
}

interface Size {
  readonly width: number;
  readonly height: number;
}

/** The size of an image's proportions that just fits into another size, or just covers it; rounded as in diffusers. */
function proportional(own: Size, { width, height }: Size, how: "within" | "around"): Size {
  const [wanted, given] = [width / height, own.width / own.height];
  const fullWidth = how === "within" ? wanted < given : wanted > given;
  const fullHeight = how === "within" ? wanted >= given : wanted <= given;
  return {
    width: fullWidth ? width : Math.floor((own.width * height) / own.height),
    height: fullHeight ? height : Math.floor((own.height * width) / own.width),
  };
}

/**
 * Resizes with Lanczos so that the whole image fits, in the middle; its edges are drawn out over what is left free. As
 * diffusers does in its resize mode "fill".
 */
export async function fitWithin(picture: StoredPixels, width: number, height: number): Promise<StoredPixels> {
  const own = proportional(picture, { width, height }, "within");
  const resized = await resizeStored(picture, own.width, own.height, "lanczos");
  const [left, top] = centre(own, { width, height });
  const result = new Uint8Array(width * height * 3);
  paste(result, { width, height }, resized, left, top);
  // Pillow draws out edges by resizing an empty strip along them; nothing is left free on two sides at once.
  for (let y = 0; y < top; y++) {
    paste(result, { width, height }, row(resized, "first"), 0, y);
    paste(result, { width, height }, row(resized, "last"), 0, top + own.height + y);
  }
  if (left > 0) {
    const turned = transposed(resized);
    const [first, last] = [transposed(row(turned, "first")), transposed(row(turned, "last"))];
    for (let x = 0; x < left; x++) {
      paste(result, { width, height }, first, x, 0);
      paste(result, { width, height }, last, left + own.width + x, 0);
    }
  }
  return { width, height, data: result, form: "colour" };
}

/** Resizes so that the image covers the size, and cuts off what is too much on both sides, as diffusers in its mode "crop". */
export async function fitAround(
  picture: StoredPixels,
  width: number,
  height: number,
  filter: ResampleFilter = "lanczos",
): Promise<StoredPixels> {
  const own = proportional(picture, { width, height }, "around");
  const resized = await resizeStored(picture, own.width, own.height, filter);
  const [left, top] = centre(own, { width, height });
  const result = new Uint8Array(width * height * 3);
  paste(result, { width, height }, resized, left, top);
  return { width, height, data: result, form: "colour" };
}

function centre(inner: Size, outer: Size): [number, number] {
  const half = (side: number) => Math.floor(side / 2);
  return [half(outer.width) - half(inner.width), half(outer.height) - half(inner.height)];
}

/** Copies colours to a place in RGB pixels, as far as they lie inside. */
export function paste(
  target: Uint8Array,
  { width, height }: Size,
  picture: Pick<StoredPixels, "width" | "height" | "data">,
  left: number,
  top: number,
): void {
  const [from, to] = [Math.max(-left, 0), Math.min(picture.width, width - left)];
  for (let y = Math.max(-top, 0); y < Math.min(picture.height, height - top); y++) {
    const source = picture.data.subarray(3 * (y * picture.width + from), 3 * (y * picture.width + to));
    target.set(source, 3 * ((y + top) * width + left + from));
  }
}

/** Pillow's bicubic weights (a = −½) of the two outer rows for a point on the edge, in 2⁻²². */
const OUTER = Math.round(1.125 * 2 ** 22);
const INNER = Math.round(-0.125 * 2 ** 22);

/** The row that Pillow's `resize` makes of an empty strip along an edge: bicubic, or beyond the end the background if indexed. */
function row(picture: StoredPixels, which: "first" | "last"): StoredPixels {
  const { width, height, form } = picture;
  const averaged = form === "colour with alpha";
  const rgba = averaged ? premultiplied(rgbaOf(picture)) : rgbaOf(picture);
  const line = (y: number) => rgba.subarray(4 * y * width, 4 * (y + 1) * width);
  const outer = line(which === "first" ? 0 : height - 1);
  if (form === "indexed")
    return fromRgba(width, 1, which === "first" ? outer : repeated(picture.background, width), form);
  if (height === 1) return fromRgba(width, 1, averaged ? unpremultiplied(outer) : outer, form);
  const inner = line(which === "first" ? 1 : height - 2);
  const mixed = outer.map((value, i) => {
    const sum = value * OUTER + inner[i]! * INNER + 2 ** 21;
    return Math.min(Math.max(Math.floor(sum / 2 ** 22), 0), 255);
  });
  return fromRgba(width, 1, averaged ? unpremultiplied(mixed) : mixed, form);
}

function repeated([r, g, b]: readonly number[] = [0, 0, 0], width: number): Uint8Array {
  return Uint8Array.from({ length: 4 * width }, (_, i) => [r!, g!, b!, 255][i % 4]!);
}

function transposed(picture: StoredPixels): StoredPixels {
  const { width, height, form } = picture;
  const rgba = rgbaOf(picture);
  const turned = new Uint8Array(rgba.length);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++)
      turned.set(rgba.subarray(4 * (y * width + x), 4 * (y * width + x) + 4), 4 * (x * height + y));
  return { ...fromRgba(height, width, turned, form), background: picture.background };
}

/** Puts an image over an opaque one, by a mask of weights and the image's alpha, with Pillow's rounding. */
export function composite(below: Uint8Array, above: StoredPixels, weights: Uint8Array): Uint8Array {
  const masked = premultiplied(rgbaOf(above));
  for (let i = 0; i < masked.length; i++) masked[i] = divideBy255(masked[i]! * weights[i >> 2]!);
  const over = unpremultiplied(masked);
  const result = new Uint8Array(below.length);
  for (let i = 0; i < weights.length; i++) {
    const alpha = over[4 * i + 3]!;
    for (let c = 0; c < 3; c++) result[3 * i + c] = blended(over[4 * i + c]!, below[3 * i + c]!, alpha);
  }
  return result;
}

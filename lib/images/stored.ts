import type { Metadata } from "sharp";
import { ofThisRealm } from "../core/realm.js";
import { native } from "../runtime/native.js";
import type { RgbPixels } from "./pixels.js";
import type { ResampleFilter } from "./resize.js";

/**
 * How a file holds an image, as far as it decides how Pillow resizes it: bits and palette indices cannot be averaged, and
 * colours are averaged by their alpha.
 */
export type StoredForm = "indexed" | "colour" | "colour with alpha";

/** An image with what its file says beside colours. */
export interface StoredPixels extends RgbPixels {
  readonly form: StoredForm;
  /** height · width bytes, if the file has alpha. */
  readonly alpha?: Uint8Array | undefined;
  /** The first colour of a palette, which Pillow puts where there is no pixel. Default black. */
  readonly background?: readonly number[] | undefined;
}

/** The first colour in a PNG's palette. */
export function backgroundOf(bytes: Buffer, { format }: Metadata): readonly number[] | undefined {
  if (format !== "png" || bytes[25] !== PALETTE) return undefined;
  const colours = bytes.indexOf("PLTE") + "PLTE".length;
  return [...bytes.subarray(colours, colours + 3)];
}

const GREY = 0;
const PALETTE = 3;
const WITH_ALPHA = [4, 6];

/** @param bytes of the file */
export function storedAs(
  bytes: Buffer,
  { format, hasAlpha, isPalette, channels, bitsPerSample }: Metadata,
): StoredForm {
  if (format === "png") {
    const [depth, type] = [bytes[24]!, bytes[25]!];
    if (type === PALETTE || (type === GREY && depth === 1)) return "indexed";
    return WITH_ALPHA.includes(type) ? "colour with alpha" : "colour";
  }
  if (format === "gif" || isPalette || (channels === 1 && bitsPerSample === 1)) return "indexed";
  return hasAlpha ? "colour with alpha" : "colour";
}

/** Red, green, blue and alpha, opaque where the file has none. */
export function rgbaOf({ width, height, data, alpha }: StoredPixels): Uint8Array {
  const rgba = new Uint8Array(width * height * 4);
  for (let i = 0; i < width * height; i++) {
    rgba[4 * i] = data[3 * i]!;
    rgba[4 * i + 1] = data[3 * i + 1]!;
    rgba[4 * i + 2] = data[3 * i + 2]!;
    rgba[4 * i + 3] = alpha?.[i] ?? 255;
  }
  return rgba;
}

/** A colour by its alpha over an opaque one, with the rounding of Pillow's `alpha_composite`. */
export function blended(above: number, below: number, alpha: number): number {
  if (alpha === 0) return below;
  const sum = (above * alpha + below * (255 - alpha)) * 128 + (0x80 << 7);
  return (((sum >> 8) + sum) >> 8) >> 7;
}

/** An image on a white ground. */
export function onWhite({ width, height, data, alpha }: StoredPixels): RgbPixels {
  return { width, height, data: alpha ? data.map((value, i) => blended(value, 255, alpha[Math.floor(i / 3)]!)) : data };
}

/** The reverse of {@link rgbaOf}. */
export function fromRgba(width: number, height: number, rgba: Uint8Array, form: StoredForm): StoredPixels {
  const data = new Uint8Array(width * height * 3);
  const alpha = new Uint8Array(width * height);
  for (let i = 0; i < alpha.length; i++) {
    data.set(rgba.subarray(4 * i, 4 * i + 3), 3 * i);
    alpha[i] = rgba[4 * i + 3]!;
  }
  return { width, height, data, alpha, form };
}

/**
 * Resizes with the values of Pillow's `Image.resize`: indexed images by nearest neighbour whatever the filter, colours with
 * alpha multiplied by it.
 */
export async function resizeStored(
  picture: StoredPixels,
  width: number,
  height: number,
  filter: ResampleFilter,
): Promise<StoredPixels> {
  if (width === picture.width && height === picture.height) return picture;
  const { form } = picture;
  const averaged = form === "colour with alpha";
  const rgba = averaged ? premultiplied(rgbaOf(picture)) : rgbaOf(picture);
  const method = form === "indexed" ? "nearest" : filter;
  const resized = ofThisRealm(
    await native().resize(rgba, picture.width, picture.height, 4, width, height, method, false),
  );
  const pixels = fromRgba(width, height, averaged ? unpremultiplied(resized) : resized, form);
  return { ...pixels, background: picture.background };
}

/** a/255 of products of two bytes, rounded, as Pillow computes it. */
export function divideBy255(product: number): number {
  const a = product + 128;
  return ((a >> 8) + a) >> 8;
}

/** Colours multiplied by their alpha, Pillow's mode "RGBa". */
export function premultiplied(rgba: Uint8Array): Uint8Array {
  const result = rgba.slice();
  for (let i = 0; i < result.length; i += 4)
    for (let c = 0; c < 3; c++) result[i + c] = divideBy255(result[i + c]! * result[i + 3]!);
  return result;
}

/** The reverse of {@link premultiplied}, as far as it can be undone. */
export function unpremultiplied(rgba: Uint8Array): Uint8Array {
  const result = rgba.slice();
  for (let i = 0; i < result.length; i += 4) {
    const alpha = result[i + 3]!;
    if (alpha === 0 || alpha === 255) continue;
    for (let c = 0; c < 3; c++) result[i + c] = Math.min(255, Math.floor((255 * result[i + c]!) / alpha));
  }
  return result;
}

/** Weights of red, green and blue in Pillow's conversion to grey (ITU-R 601-2), in 1/65536. */
const LUMA = [19595, 38470, 7471] as const;

/** Grey levels as Pillow converts colours, without regard to alpha. */
export function greyOf({ width, height, data }: RgbPixels): Uint8Array {
  const grey = new Uint8Array(width * height);
  const [r, g, b] = LUMA;
  for (let i = 0; i < grey.length; i++)
    grey[i] = (data[3 * i]! * r + data[3 * i + 1]! * g + data[3 * i + 2]! * b + 0x8000) >> 16;
  return grey;
}

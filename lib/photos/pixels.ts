import { RgbImage } from "../images/rgb-image.js";

/**
 * A photograph while it is edited: interleaved sRGB (gamma-coded, as in files) in 0..1, so that edits that follow each other
 * do not round in between. `data[(y · width + x) · 3 + channel]`.
 */
export interface Photo {
  readonly width: number;
  readonly height: number;
  readonly data: Float32Array;
}

/** One channel of the same layout: a mask, a brightness. */
export interface Plane {
  readonly width: number;
  readonly height: number;
  readonly data: Float32Array;
}

/** Red, green and blue in 0..1. */
export type Colour = readonly [number, number, number];

export function photoOf({ width, height, data }: Pick<RgbImage, "width" | "height" | "data">): Photo {
  return { width, height, data: Float32Array.from(data, (level) => level / 255) };
}

/** Rounds to 8 bits; values outside 0..1 are clipped. */
export function imageOf({ width, height, data }: Photo): RgbImage {
  return new RgbImage(
    width,
    height,
    Uint8Array.from(data, (value) => Math.round(255 * clip(value))),
  );
}

export const clip = (value: number): number => Math.max(0, Math.min(1, value));

/** `a` for 0, `b` for 1. */
export const mix = (a: number, b: number, share: number): number => a + (b - a) * share;

/** 0 below `from`, 1 above `to`, smooth between; also for `from` > `to`, where it falls. */
export function ramp(from: number, to: number, value: number): number {
  const t = clip((value - from) / (to - from));
  return t * t * (3 - 2 * t);
}

/** The brightness of gamma-coded colours, 0..1: Rec. 601's luma, 0.299 R + 0.587 G + 0.114 B. */
export const luma = (r: number, g: number, b: number): number => 0.299 * r + 0.587 * g + 0.114 * b;

/** The brightness of every pixel, by {@link luma}. */
export function lumaOf({ width, height, data }: Photo): Plane {
  const plane = new Float32Array(width * height);
  for (let i = 0, j = 0; i < plane.length; i++, j += 3) plane[i] = luma(data[j]!, data[j + 1]!, data[j + 2]!);
  return { width, height, data: plane };
}

export function meanOf(values: Float32Array): number {
  let sum = 0;
  for (const value of values) sum += value;
  return sum / values.length;
}

/**
 * The unit of lengths that grow with the image: its shorter side in pixels. A blur of 0.02 looks the same in an image of any
 * size.
 */
export const unitOf = ({ width, height }: Pick<Photo, "width" | "height">): number => Math.min(width, height);

/** Sets the new colour of a pixel. */
export type SetColour = (r: number, g: number, b: number) => void;

/**
 * A photograph with other colours, pixel by pixel; they are clipped to 0..1.
 *
 * @param change is given the colour, the pixel's index, and the function to call with the new colour
 */
export function mapPhoto(
  { width, height, data }: Photo,
  change: (r: number, g: number, b: number, pixel: number, set: SetColour) => void,
): Photo {
  const result = new Float32Array(data.length);
  let at = 0;
  const set: SetColour = (r, g, b) => {
    result[at] = clip(r);
    result[at + 1] = clip(g);
    result[at + 2] = clip(b);
  };
  for (let pixel = 0; at < data.length; pixel++, at += 3) change(data[at]!, data[at + 1]!, data[at + 2]!, pixel, set);
  return { width, height, data: result };
}

/** A photograph with every channel value replaced by a function of it alone. */
export function mapValues({ width, height, data }: Photo, change: (value: number) => number): Photo {
  return { width, height, data: data.map((value) => clip(change(value))) };
}

/** Mixes two photographs by a mask, 0 for the first and 1 for the second. */
export function mixByMask(first: Photo, second: Photo, mask: Plane): Photo {
  const data = new Float32Array(first.data.length);
  for (let i = 0; i < data.length; i++) data[i] = mix(first.data[i]!, second.data[i]!, mask.data[Math.floor(i / 3)]!);
  return { width: first.width, height: first.height, data };
}

import type { Tensor } from "../core/tensor.js";
import type { RgbPixels } from "../images/pixels.js";

/** Three planes of values in 0..1, one for each channel. */
export interface Planes {
  readonly values: Float32Array;
  readonly height: number;
  readonly width: number;
}

/** The pixels of an image, as PyTorch has them. */
export function planesOf({ data, height, width }: RgbPixels): Planes {
  const size = height * width;
  const values = new Float32Array(3 * size);
  for (let i = 0; i < size; i++)
    for (let channel = 0; channel < 3; channel++) values[channel * size + i] = data[3 * i + channel]! / 255;
  return { values, height, width };
}

/** The first image of a tensor [B,3,H,W] in 0..1. */
export async function planesOfTensor(tensor: Tensor): Promise<Planes> {
  const [, , height, width] = tensor.shape as [number, number, number, number];
  const all = (await tensor.toArray()) as Float32Array;
  return { values: all.slice(0, 3 * height * width), height, width };
}

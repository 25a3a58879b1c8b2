import type { RgbPixels } from "../images/pixels.js";

/** Where PyTorch's cosine similarity stops dividing. */
const LEAST_LENGTH = 1e-8;

/** The cosine of the angle between two vectors; 0 if one of them is nothing. */
export function cosine(a: Float32Array, b: Float32Array): number {
  let [product, lengthA, lengthB] = [0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    product += a[i]! * b[i]!;
    lengthA += a[i]! ** 2;
    lengthB += b[i]! ** 2;
  }
  return product / (Math.max(Math.sqrt(lengthA), LEAST_LENGTH) * Math.max(Math.sqrt(lengthB), LEAST_LENGTH));
}

export function difference(a: Float32Array, b: Float32Array): Float32Array {
  return a.map((value, i) => value - b[i]!);
}

/** A vector of length 1. */
export function normalised(vector: Float32Array): Float32Array {
  const length = Math.sqrt(vector.reduce((sum, value) => sum + value ** 2, 0));
  return vector.map((value) => value / length);
}

/** Mean absolute and mean squared differences of the pixels of two images of one size, in 0..1. */
export function distances(a: RgbPixels, b: RgbPixels): { l1: number; l2: number } {
  let [absolute, squared] = [0, 0];
  for (const [i, value] of a.data.entries()) {
    const apart = Math.abs(value - b.data[i]!) / 255;
    absolute += apart;
    squared += apart ** 2;
  }
  return { l1: absolute / a.data.length, l2: squared / a.data.length };
}

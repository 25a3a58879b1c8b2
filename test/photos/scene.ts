import type { Photo } from "../../lib/photos/pixels.js";

const SAMPLES = 3;

/** A landscape as a function of the place, 0..1: a blue sky, hills, a red ball, fine stripes. */
function colourAt(x: number, y: number): [number, number, number] {
  if (Math.hypot(x - 0.35, y - 0.68) < 0.16) {
    const light = 0.75 + 0.25 * Math.cos(6 * (x - 0.3)) * Math.cos(6 * (y - 0.6));
    return [0.9 * light, 0.12 * light, 0.1 * light];
  }
  if (y < 0.45 + 0.05 * Math.sin(7 * x)) return [0.3 + 0.3 * y, 0.5 + 0.35 * y, 0.85 + 0.1 * y];
  if (x > 0.72) return (x * 24) % 1 < 0.5 ? [0.15, 0.14, 0.13] : [0.85, 0.84, 0.8];
  const light = 0.6 + 0.15 * Math.sin(31 * x + 5 * y) * Math.sin(23 * y);
  return [0.35 * light, 0.8 * light, 0.25 * light];
}

/** The landscape in any size, each pixel the mean over its area. */
export function landscape(width: number, height = width): Photo {
  const data = new Float32Array(width * height * 3);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      const sum = [0, 0, 0];
      for (let v = 0; v < SAMPLES; v++)
        for (let u = 0; u < SAMPLES; u++) {
          const colour = colourAt((x + (u + 0.5) / SAMPLES) / width, (y + (v + 0.5) / SAMPLES) / height);
          for (const [c, value] of colour.entries()) sum[c]! += value / SAMPLES ** 2;
        }
      data.set(sum, (y * width + x) * 3);
    }
  return { width, height, data };
}

/** The mean of the squares of `factor` pixels. */
export function shrink({ width, height, data }: Photo, factor: number): Photo {
  const [w, h] = [width / factor, height / factor];
  const result = new Float32Array(w * h * 3);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++)
      for (let c = 0; c < 3; c++)
        result[(Math.floor(y / factor) * w + Math.floor(x / factor)) * 3 + c]! +=
          data[(y * width + x) * 3 + c]! / factor ** 2;
  return { width: w, height: h, data: result };
}

/** The mean absolute difference, in levels of 255. */
export function difference(a: Photo, b: Photo): number {
  let sum = 0;
  for (const [i, value] of a.data.entries()) sum += Math.abs(value - b.data[i]!);
  return (255 * sum) / a.data.length;
}

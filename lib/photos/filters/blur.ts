import type { Photo, Plane } from "../pixels.js";

/** Standard deviations after which a Gaussian ends. */
const REACH = 3;

/**
 * A Gaussian blur; the pixels at the border are repeated beyond it.
 *
 * @param sigma standard deviation in pixels; 0 changes nothing
 */
export function blurPhoto({ width, height, data }: Photo, sigma: number): Photo {
  return { width, height, data: blurred(data, width, height, 3, sigma) };
}

/** As {@link blurPhoto}, for one channel. */
export function blurPlane({ width, height, data }: Plane, sigma: number): Plane {
  return { width, height, data: blurred(data, width, height, 1, sigma) };
}

function blurred(data: Float32Array, width: number, height: number, channels: number, sigma: number): Float32Array {
  const kernel = gaussian(sigma);
  if (kernel.length === 1) return data.slice();
  const row = width * channels;
  const across = alongLines(data, kernel, { lines: height, next: row, length: width, step: channels }, channels);
  return alongLines(across, kernel, { lines: width, next: channels, length: height, step: row }, channels);
}

/** The weights of a Gaussian, its integrals over the pixels: right for any width, also below a pixel. */
function gaussian(sigma: number): Float32Array {
  const radius = sigma > 0 ? Math.ceil(REACH * sigma) : 0;
  if (radius === 0) return Float32Array.of(1);
  const weights = new Float32Array(2 * radius + 1);
  const below = (x: number) => 1 / (1 + Math.exp((-1.5976 * x) / sigma - 0.070565 * (x / sigma) ** 3));
  let sum = 0;
  for (let i = -radius; i <= radius; i++) sum += weights[i + radius] = below(i + 0.5) - below(i - 0.5);
  return weights.map((weight) => weight / sum);
}

interface Lines {
  lines: number;
  /** Elements from a line to the next. */
  next: number;
  /** Pixels of a line. */
  length: number;
  /** Elements from a pixel to the next. */
  step: number;
}

function alongLines(
  data: Float32Array,
  kernel: Float32Array,
  { lines, next, length, step }: Lines,
  channels: number,
): Float32Array {
  const result = new Float32Array(data.length);
  const radius = kernel.length >> 1;
  // A line with its ends repeated.
  const line = new Float32Array(length + 2 * radius);
  for (let n = 0; n < lines; n++)
    for (let channel = 0; channel < channels; channel++) {
      const start = n * next + channel;
      for (let i = 0; i < length; i++) line[i + radius] = data[start + i * step]!;
      line.fill(line[radius]!, 0, radius);
      line.fill(line[radius + length - 1]!, radius + length);
      for (let i = 0; i < length; i++) {
        let sum = 0;
        for (let k = 0; k < kernel.length; k++) sum += kernel[k]! * line[i + k]!;
        result[start + i * step] = sum;
      }
    }
  return result;
}

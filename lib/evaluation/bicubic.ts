import type { Planes } from "./planes.js";

/** Keys' cubic with the parameter that PyTorch has. */
const A = -0.75;

/** The places and weights of the four values that each of `size` results is made of. */
function taps(from: number, size: number): { at: Int32Array; weights: Float64Array } {
  const at = new Int32Array(4 * size);
  const weights = new Float64Array(4 * size);
  const near = (x: number) => ((A + 2) * x - (A + 3)) * x * x + 1;
  const far = (x: number) => ((A * x - 5 * A) * x + 8 * A) * x - 4 * A;
  for (let i = 0; i < size; i++) {
    const source = (from / size) * (i + 0.5) - 0.5;
    const first = Math.floor(source);
    const t = source - first;
    for (const [k, weight] of [far(t + 1), near(t), near(1 - t), far(2 - t)].entries()) {
      at[4 * i + k] = Math.min(Math.max(first + k - 1, 0), from - 1);
      weights[4 * i + k] = weight;
    }
  }
  return { at, weights };
}

/**
 * Planes resized as PyTorch's `interpolate` does in its mode "bicubic": sampled, without antialiasing, and with edges repeated.
 * It is what the InstructPix2Pix paper's metrics do; Pillow's bicubic filter, which CLIP was trained with, gives other pixels.
 */
export function sampleBicubic({ values, height, width }: Planes, size: number): Planes {
  const [rows, columns] = [taps(height, size), taps(width, size)];
  const count = values.length / (height * width);
  const result = new Float32Array(count * size * size);
  const line = new Float64Array(height * size);
  for (let plane = 0; plane < count; plane++) {
    const from = plane * height * width;
    for (let y = 0; y < height; y++)
      for (let x = 0; x < size; x++) {
        let sum = 0;
        for (let k = 4 * x; k < 4 * x + 4; k++) sum += columns.weights[k]! * values[from + y * width + columns.at[k]!]!;
        line[y * size + x] = sum;
      }
    for (let y = 0; y < size; y++)
      for (let x = 0; x < size; x++) {
        let sum = 0;
        for (let k = 4 * y; k < 4 * y + 4; k++) sum += rows.weights[k]! * line[rows.at[k]! * size + x]!;
        result[(plane * size + y) * size + x] = sum;
      }
  }
  return { values: result, height: size, width: size };
}

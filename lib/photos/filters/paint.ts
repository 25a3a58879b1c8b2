import { lumaOf, type Photo, type Plane } from "../pixels.js";

/** How strongly the quietest of the four quadrants wins. */
const SHARPNESS = 4;
/** Variance of the brightness that counts as none. */
const QUIET = 2e-4;

/**
 * Smooths as oil paint does: every pixel becomes a mean of the means of the four squares that it is a corner of, weighted by
 * 1 / (ε + variance)⁴, so that areas become flat and edges stay: Kuwahara's filter with soft weights (Kuwahara et al. 1976;
 * Papari, Petkov and Campisi 2007).
 *
 * @param radius side of the squares in pixels, at least 1; fractions mix the two next whole ones
 */
export function oilPaint(photo: Photo, radius: number): Photo {
  const [less, share] = [Math.max(1, Math.floor(radius)), Math.max(0, radius - Math.max(1, Math.floor(radius)))];
  const first = wholeRadius(photo, less);
  if (share < 0.05) return first;
  const second = wholeRadius(photo, less + 1);
  return { ...photo, data: first.data.map((value, i) => value + share * (second.data[i]! - value)) };
}

function wholeRadius(photo: Photo, radius: number): Photo {
  const { width, height, data } = photo;
  const brightness = lumaOf(photo);
  const sums = [0, 1, 2].map((channel) => sumTable(width, height, (i) => data[3 * i + channel]!));
  const light = sumTable(width, height, (i) => brightness.data[i]!);
  const squares = sumTable(width, height, (i) => brightness.data[i]! ** 2);
  const result = new Float32Array(data.length);
  const row = width + 1;
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      let [r, g, b, total] = [0, 0, 0, 0];
      for (const right of [false, true])
        for (const down of [false, true]) {
          const [x0, x1] = right ? [x, Math.min(width, x + radius + 1)] : [Math.max(0, x - radius), x + 1];
          const [y0, y1] = down ? [y, Math.min(height, y + radius + 1)] : [Math.max(0, y - radius), y + 1];
          const [a, c, d, e] = [y0 * row + x0, y0 * row + x1, y1 * row + x0, y1 * row + x1];
          const count = (x1 - x0) * (y1 - y0);
          const over = (table: Float64Array) => (table[e]! - table[c]! - table[d]! + table[a]!) / count;
          const mean = over(light);
          const weight = 1 / (QUIET + Math.max(0, over(squares) - mean * mean)) ** SHARPNESS;
          r += weight * over(sums[0]!);
          g += weight * over(sums[1]!);
          b += weight * over(sums[2]!);
          total += weight;
        }
      result.set([r / total, g / total, b / total], 3 * (y * width + x));
    }
  return { width, height, data: result };
}

/** Sums over all rectangles from the upper left corner, with a row and a column of zeros before. */
function sumTable(width: number, height: number, value: (pixel: number) => number): Float64Array {
  const table = new Float64Array((width + 1) * (height + 1));
  for (let y = 0; y < height; y++) {
    let line = 0;
    for (let x = 0; x < width; x++) {
      line += value(y * width + x);
      table[(y + 1) * (width + 1) + x + 1] = table[y * (width + 1) + x + 1]! + line;
    }
  }
  return table;
}

/**
 * The slope of the brightness, per unit of length: the length of the gradient by central differences.
 *
 * @param unit pixels of a unit
 */
export function slopes({ width, height, data }: Plane, unit: number): Plane {
  const result = new Float32Array(data.length);
  const at = (x: number, y: number) =>
    data[Math.min(height - 1, Math.max(0, y)) * width + Math.min(width - 1, Math.max(0, x))]!;
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++)
      result[y * width + x] = (Math.hypot(at(x + 1, y) - at(x - 1, y), at(x, y + 1) - at(x, y - 1)) / 2) * unit;
  return { width, height, data: result };
}

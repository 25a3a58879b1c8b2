export const GIB = 2 ** 30;

/** Median of sorted values. */
export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

/**
 * The difference between two arrays of the same length.
 *
 * @param {Float32Array} actual
 * @param {Float32Array} expected
 * @param {number} peak the range of the values: 1 for images in 0..1
 * @returns {{ maxAbs: number, psnr: number | null }} `psnr` in decibels; null if the arrays are equal
 */
export function difference(actual, expected, peak) {
  if (actual.length !== expected.length)
    throw new Error(`${actual.length} values where ${expected.length} were expected`);
  let maxAbs = 0;
  let squares = 0;
  for (let i = 0; i < actual.length; i++) {
    const distance = Math.abs(actual[i] - expected[i]);
    if (!(distance <= maxAbs)) maxAbs = Number.isNaN(distance) ? Number.POSITIVE_INFINITY : distance;
    squares += distance * distance;
  }
  const psnr = squares === 0 ? null : 10 * Math.log10((peak * peak) / (squares / actual.length));
  return { maxAbs, psnr };
}

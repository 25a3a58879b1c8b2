import type { Tensor } from "../../lib/core/tensor.js";

/** Largest |actual − expected|, and the same relative to the largest |expected|. */
export async function deviation(actual: Tensor, expected: Tensor): Promise<{ absolute: number; relative: number }> {
  if (actual.shape.join() !== expected.shape.join())
    throw new Error(`shape [${actual.shape}] where [${expected.shape}] was expected`);
  const [a, b] = [await actual.toArray(), await expected.toArray()];
  let absolute = 0;
  let scale = 0;
  for (let i = 0; i < a.length; i++) {
    const difference = Math.abs(Number(a[i]) - Number(b[i]));
    // NaN must not pass for agreement.
    if (!(difference <= absolute)) absolute = Number.isNaN(difference) ? Number.POSITIVE_INFINITY : difference;
    scale = Math.max(scale, Math.abs(Number(b[i])));
  }
  return { absolute, relative: absolute === 0 ? 0 : absolute / scale };
}

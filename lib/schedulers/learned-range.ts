import type { Tensor } from "../core/tensor.js";
import { withTemporaries } from "./expression.js";
import { log32 } from "./float32.js";

/**
 * The deviation of a step's noise that a model predicts as a position between two bounds of the variance's logarithm
 * (Nichol and Dhariwal 2021, "Improved Denoising Diffusion Probabilistic Models", equation 15).
 *
 * @param predicted −1 at the lower bound, 1 at the upper
 * @param posterior the lower bound
 * @param beta the upper bound
 */
export async function learnedRangeDeviation(predicted: Tensor, posterior: number, beta: number): Promise<Tensor> {
  const min = log32(posterior);
  const max = log32(beta);
  return withTemporaries(async (own) => {
    // ½·(f·max + (1 − f)·min) with f = (v + 1) / 2
    const slope = await own(predicted.mul((max - min) / 4));
    const exponent = await own(slope.add((max + min) / 4));
    return exponent.exp();
  });
}

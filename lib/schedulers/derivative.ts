import { Tensor } from "../core/tensor.js";

/**
 * The slope dx/dσ = (x − x_0) / σ of the probability flow. At high noise levels the rounding of x − x_0 affects the
 * result, so these updates are evaluated step by step and not as one expression.
 */
export async function derivative(
  sample: Tensor,
  original: Tensor,
  sigma: number,
  dtype: Tensor["dtype"],
): Promise<Tensor> {
  using difference = await Tensor.linearCombination(
    [
      [1, sample],
      [-1, original],
    ],
    { dtype },
  );
  return difference.div(sigma);
}

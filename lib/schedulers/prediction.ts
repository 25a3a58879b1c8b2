import type { Tensor } from "../core/tensor.js";
import type { Expression } from "./expression.js";

/**
 * What the model predicts: the noise ε, the clean sample x_0, the velocity v = α·ε − σ·x_0 (Salimans and Ho 2022), or
 * the flow ε − x_0.
 */
export type PredictionType = "epsilon" | "sample" | "v_prediction" | "flow_prediction";

/**
 * x_0 as an expression in the sample x = α·x_0 + σ·ε and the model output.
 * With α = 0 (zero terminal signal-to-noise ratio) an ε prediction says nothing of x_0: the coefficients are infinite.
 */
export function originalFrom(
  type: PredictionType,
  alpha: number,
  sigma: number,
  sample: Tensor,
  output: Tensor,
): Expression {
  switch (type) {
    case "epsilon":
      return [
        [1 / alpha, sample],
        [-sigma / alpha, output],
      ];
    case "sample":
      return [[1, output]];
    case "v_prediction":
      return [
        [alpha, sample],
        [-sigma, output],
      ];
    case "flow_prediction":
      return [
        [1, sample],
        [-sigma, output],
      ];
  }
}

/** x − σ·ε = α·x_0 */
export const noiseless = (sigma: number, sample: Tensor, epsilon: Tensor): Expression => [
  [1, sample],
  [-sigma, epsilon],
];

/** ε as an expression in the sample x = α·x_0 + σ·ε and the model output. */
export function noiseFrom(
  type: Exclude<PredictionType, "flow_prediction">,
  alpha: number,
  sigma: number,
  sample: Tensor,
  output: Tensor,
): Expression {
  switch (type) {
    case "epsilon":
      return [[1, output]];
    case "sample":
      return noiseGiven([[1, output]], alpha, sigma, sample);
    case "v_prediction":
      return [
        [alpha, output],
        [sigma, sample],
      ];
  }
}

/** ε of the sample x = α·x_0 + σ·ε when x_0 is given. */
export const noiseGiven = (original: Expression, alpha: number, sigma: number, sample: Tensor): Expression => [
  [1 / sigma, sample],
  ...original.map(([coefficient, tensor]): [number, Tensor] => [(-alpha / sigma) * coefficient, tensor]),
];

import { f32, log32 } from "./float32.js";

/** A noise level in the solvers' parametrisation, all float32: x = α·x_0 + σ·ε, λ = ln(α / σ). */
export interface Level {
  readonly alpha: number;
  readonly sigma: number;
  readonly lambda: number;
}

export const levelOf = (alpha: number, sigma: number): Level => ({
  ...{ alpha, sigma },
  lambda: f32(log32(alpha) - log32(sigma)),
});

/**
 * The order, at most `order`, of the step from a level to the next. A step to σ = 0, where λ is infinite, is of the first order,
 * and so is one between levels that coincide (more steps than whole timesteps, or a last level that is given twice):
 * difference quotients would not exist, and diffusers' result is NaN.
 *
 * @param level the levels of a run by their index
 * @param index of the current level
 */
export function possibleOrder(level: (index: number) => Level, index: number, order: number): number {
  const lambdas = Array.from({ length: order + 1 }, (_, i) => level(index + 1 - i).lambda);
  if (lambdas[0] === Infinity) return 1;
  const coincide = lambdas.findIndex((lambda, i) => i > 0 && lambda === lambdas[i - 1]);
  return coincide < 0 ? order : Math.max(coincide - 1, 1);
}

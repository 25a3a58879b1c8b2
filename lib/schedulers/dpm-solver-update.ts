import type { Tensor } from "../core/tensor.js";
import { type Expression, scaled, sum } from "./expression.js";
import { exp32, f32, sqrt32 } from "./float32.js";
import type { Level } from "./level.js";

export interface DpmSolverUpdate {
  readonly algorithm: "dpmsolver" | "dpmsolver++" | "sde-dpmsolver" | "sde-dpmsolver++";
  /** Weighting of the second-order term; the third-order update has only one form. */
  readonly solver: "midpoint" | "heun";
  /** The target level, the current one, and the earlier ones that the order needs, newest first. */
  readonly levels: readonly Level[];
  readonly sample: Tensor;
  /** One prediction per level except the target, newest first; their number is the order of the update. */
  readonly predictions: readonly Tensor[];
  /** Noise of the stochastic algorithms. */
  readonly noise: Tensor | undefined;
}

/**
 * x at the next level, as an expression: the exact solution of the linear part plus a Taylor expansion of the prediction
 * in λ, with divided differences D1, D2 for its derivatives (Lu et al. 2022, "DPM-Solver", algorithms 1 and 2; Lu et al.
 * 2022b, "DPM-Solver++", equations 9 to 12; the stochastic forms as in its appendix).
 */
export function dpmSolverUpdate({
  algorithm,
  solver,
  levels,
  sample,
  predictions,
  noise,
}: DpmSolverUpdate): Expression {
  const [next, current] = levels as [Level, Level, ...Level[]];
  const h = f32(next.lambda - current.lambda);
  const weights = taylorWeights(algorithm, solver, predictions.length, next, current, h);
  return sum(
    [[weights.sample, sample]],
    differences(levels, predictions, h).flatMap((difference, i) => scaled(weights.differences[i]!, difference)),
    noise ? [[weights.noise, noise]] : [],
  );
}

/** The prediction and its divided differences in units of the step h. */
function differences(levels: readonly Level[], predictions: readonly Tensor[], h: number): Expression[] {
  const [m0, m1, m2] = predictions as [Tensor, Tensor?, Tensor?];
  const ratio = (i: number) => f32(f32(levels[i]!.lambda - levels[i + 1]!.lambda) / h);
  const between = (weight: number, a: Tensor, b: Tensor): Expression => [
    [weight, a],
    [-weight, b],
  ];
  if (m1 === undefined) return [[[1, m0]]];
  const r0 = ratio(1);
  const slope0 = between(f32(1 / r0), m0, m1);
  if (m2 === undefined) return [[[1, m0]], slope0];
  const r1 = ratio(2);
  const slope1 = between(f32(1 / r1), m1, m2);
  const change = sum(slope0, scaled(-1, slope1));
  const r = f32(r0 + r1);
  return [[[1, m0]], sum(slope0, scaled(f32(r0 / r), change)), scaled(f32(1 / r), change)];
}

/** Coefficients of the sample, of the prediction and its differences, and of the noise. */
function taylorWeights(
  algorithm: DpmSolverUpdate["algorithm"],
  solver: DpmSolverUpdate["solver"],
  order: number,
  next: Level,
  current: Level,
  h: number,
) {
  const { alpha, sigma } = next;
  // e^x − 1 as diffusers computes it, cancellation included.
  const grown = (x: number) => f32(exp32(x) - 1);
  switch (algorithm) {
    case "dpmsolver++": {
      const phi1 = grown(-h);
      const phi2 = f32(f32(phi1 / h) + 1);
      const phi3 = f32(f32(f32(phi1 + h) / f32(h * h)) - 0.5);
      const second = solver === "heun" || order === 3 ? alpha * phi2 : -0.5 * alpha * phi1;
      return { sample: f32(sigma / current.sigma), differences: [-alpha * phi1, second, -alpha * phi3], noise: 0 };
    }
    case "dpmsolver": {
      const phi1 = grown(h);
      const phi2 = f32(f32(phi1 / h) - 1);
      const phi3 = f32(f32(f32(phi1 - h) / f32(h * h)) - 0.5);
      const second = solver === "heun" || order === 3 ? -sigma * phi2 : -0.5 * sigma * phi1;
      return { sample: f32(alpha / current.alpha), differences: [-sigma * phi1, second, -sigma * phi3], noise: 0 };
    }
    case "sde-dpmsolver++": {
      const phi1 = f32(1 - exp32(f32(-2 * h)));
      const phi2 = f32(f32(phi1 / f32(-2 * h)) + 1);
      const phi3 = f32(f32(f32(phi1 - f32(2 * h)) / f32(4 * h * h)) - 0.5);
      const second = solver === "heun" || order === 3 ? alpha * phi2 : 0.5 * alpha * phi1;
      return {
        sample: f32(f32(sigma / current.sigma) * exp32(-h)),
        differences: [alpha * phi1, second, alpha * phi3],
        noise: f32(sigma * sqrt32(phi1)),
      };
    }
    case "sde-dpmsolver": {
      const phi1 = grown(h);
      const phi2 = f32(f32(phi1 / h) - 1);
      const second = solver === "heun" ? -2 * sigma * phi2 : -sigma * phi1;
      return {
        sample: f32(alpha / current.alpha),
        differences: [-2 * sigma * phi1, second],
        noise: f32(sigma * sqrt32(grown(f32(2 * h)))),
      };
    }
  }
}

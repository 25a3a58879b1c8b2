import type { Tensor } from "../core/tensor.js";
import { type Expression, scaled, sum } from "./expression.js";
import { expm1_32, f32 } from "./float32.js";
import type { Level } from "./level.js";

export interface UniPCUpdate {
  /** B(h): "bh1" is h, "bh2" is e^h − 1 (for the noise prediction; −h for the data prediction). */
  readonly solver: "bh1" | "bh2";
  /** Whether the predictions are of x_0 (else of ε). */
  readonly predictsOriginal: boolean;
  /** The target level, the start level, and the earlier ones that the order needs, newest first. */
  readonly levels: readonly Level[];
  /** x at the start level. */
  readonly sample: Tensor;
  /** One prediction per level except the target, newest first; their number is the order. */
  readonly predictions: readonly Tensor[];
  /** For the corrector: the prediction at the target level. */
  readonly reached?: Tensor;
}

/**
 * x at the next level by the unified predictor UniP, or with `reached` by the corrector UniC (Zhao et al. 2023, "UniPC: A
 * Unified Predictor-Corrector Framework for Fast Sampling of Diffusion Models", equations 3 and 9).
 */
export function unipcUpdate(update: UniPCUpdate): Expression {
  const { solver, predictsOriginal, levels, sample, predictions, reached } = update;
  const [next, current] = levels as [Level, Level, ...Level[]];
  const h = f32(next.lambda - current.lambda);
  const step = predictsOriginal ? -h : h;
  const growth = expm1_32(step);
  const weight = solver === "bh1" ? step : growth;
  // r_k: positions of the earlier levels in units of the step, and 1 for the target level.
  const ratios = levels.slice(2).map(({ lambda }) => f32(f32(lambda - current.lambda) / h));
  const newest = predictions[0]!;
  const quotients = ratios.map((ratio, k): Expression => difference(predictions[k + 1]!, newest, ratio));
  if (reached !== undefined) {
    ratios.push(1);
    quotients.push(difference(reached, newest, 1));
  }
  const rho = quotientWeights(ratios, step, growth, weight);
  const change = sum(...quotients.map((quotient, k) => scaled(rho[k]!, quotient)));
  const [keep, scale] = predictsOriginal
    ? [f32(next.sigma / current.sigma), next.alpha]
    : [f32(next.alpha / current.alpha), next.sigma];
  return sum([[keep, sample]], [[-f32(scale * growth), newest]], scaled(-f32(scale * weight), change));
}

/** (a − b) / ratio */
const difference = (a: Tensor, b: Tensor, ratio: number): Expression => [
  [1 / ratio, a],
  [-1 / ratio, b],
];

/**
 * Weights ρ of the difference quotients: R·ρ = b with R_ij = r_j^i and b_i = (i + 1)!·φ_{i+2}(h) / B(h), so that the error
 * is of a higher order. A single quotient is weighted with ½, whatever B.
 */
function quotientWeights(ratios: number[], step: number, growth: number, weight: number): number[] {
  const order = ratios.length;
  if (order < 2) return order === 0 ? [] : [0.5];
  const matrix = ratios.map((_, power) => ratios.map((ratio) => power32(ratio, power)));
  const right: number[] = [];
  let phi = f32(f32(growth / step) - 1);
  let factorial = 1;
  for (let i = 1; i <= order; i++) {
    right.push(f32(f32(phi * factorial) / weight));
    factorial *= i + 1;
    phi = f32(f32(phi / step) - f32(1 / factorial));
  }
  return solve32(matrix, right);
}

const power32 = (base: number, exponent: number): number => {
  if (exponent === 3) return f32(f32(base * base) * base);
  return f32(base ** exponent);
};

/** Gaussian elimination with partial pivoting in float32. Changes its arguments. */
function solve32(matrix: number[][], right: number[]): number[] {
  const size = right.length;
  for (let column = 0; column < size; column++) {
    let pivot = column;
    for (let row = column + 1; row < size; row++)
      if (Math.abs(matrix[row]![column]!) > Math.abs(matrix[pivot]![column]!)) pivot = row;
    [matrix[column], matrix[pivot]] = [matrix[pivot]!, matrix[column]!];
    [right[column], right[pivot]] = [right[pivot]!, right[column]!];
    for (let row = column + 1; row < size; row++) {
      const factor = f32(matrix[row]![column]! / matrix[column]![column]!);
      for (let k = column; k < size; k++) matrix[row]![k] = f32(matrix[row]![k]! - f32(factor * matrix[column]![k]!));
      right[row] = f32(right[row]! - f32(factor * right[column]!));
    }
  }
  const solution = new Array<number>(size).fill(0);
  for (let row = size - 1; row >= 0; row--) {
    let rest = right[row]!;
    for (let k = row + 1; k < size; k++) rest = f32(rest - f32(matrix[row]![k]! * solution[k]!));
    solution[row] = f32(rest / matrix[row]![row]!);
  }
  return solution;
}

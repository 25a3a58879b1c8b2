/** The relative widths of the averages that a run keeps, of which others are made. */
export const KEPT_WIDTHS = [0.05, 0.1] as const;

/** The widths that can be made. Beyond, the averages differ little from the last weights, or from the mean of all. */
export const LEAST_WIDTH = 0.01;
export const MOST_WIDTH = 0.28;

/** An average of the weights after `step` steps. */
export interface PowerAverage {
  step: number;
  /** Its exponent, see {@link exponentOf}. */
  gamma: number;
}

/**
 * The exponent γ of the average whose weights, which grow as the γ-th power of the step, have a standard deviation of `width`
 * times the number of steps: the root of width² (γ + 2)² (γ + 3) = γ + 1 (Karras et al. 2023, "Analyzing and Improving the Training
 * Dynamics of Diffusion Models", https://arxiv.org/abs/2312.02696, equation 3).
 *
 * @param width 0.01..0.28
 */
export function exponentOf(width: number): number {
  const excess = (gamma: number) => width ** 2 * (gamma + 2) ** 2 * (gamma + 3) - (gamma + 1);
  // It falls from γ = 0 on.
  let [low, high] = [0, 1 / width];
  while (high - low > 1e-12 * high) {
    const middle = (low + high) / 2;
    if (middle === low || middle === high) break;
    if (excess(middle) < 0) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}

/** How much of the average is kept at its `step`-th update, counted from 1: (1 − 1/step)^(γ + 1). */
export function powerDecay(step: number, gamma: number): number {
  return (1 - 1 / step) ** (gamma + 1);
}

/**
 * What a coefficient may cost beside a difference of the weights that the averages give to the steps. Snapshots are rounded to float32,
 * which large coefficients of nearly equal averages would multiply.
 */
const ROUNDING = 1e-10;

/**
 * The coefficients with which averages add up to another one, in the sense of least squares of the weights that they give to
 * the steps (algorithm 3 of the paper, but with the steps as they are instead of a continuous time, which matters where they are few).
 * They add up to about 1.
 */
export function combination(averages: readonly PowerAverage[], wanted: PowerAverage): number[] {
  const overlap = overlaps(Math.max(wanted.step, ...averages.map(({ step }) => step)));
  const matrix = averages.map((a, i) => averages.map((b, j) => overlap(a, b) * (i === j ? 1 + ROUNDING : 1)));
  const right = averages.map((a) => overlap(a, wanted));
  return solve(matrix, right);
}

/** Σ p·q over the steps, where p and q are the weights (kᵞ⁺¹ − (k − 1)ᵞ⁺¹) / Tᵞ⁺¹ that averages up to step T give to step k. */
function overlaps(last: number): (a: PowerAverage, b: PowerAverage) => number {
  const power = (step: number, gamma: number) => (step / last) ** (gamma + 1);
  const known = new Map<string, Float64Array>();
  const sums = (a: number, b: number) => {
    const key = [a, b].sort((x, y) => x - y).join();
    let found = known.get(key);
    if (!found) {
      found = new Float64Array(last + 1);
      for (let k = 1; k <= last; k++)
        found[k] = found[k - 1]! + (power(k, a) - power(k - 1, a)) * (power(k, b) - power(k - 1, b));
      known.set(key, found);
    }
    return found;
  };
  return (a, b) =>
    sums(a.gamma, b.gamma)[Math.min(a.step, b.step)]! / (power(a.step, a.gamma) * power(b.step, b.gamma));
}

/** Solves a system of linear equations by elimination with row pivots. */
function solve(matrix: readonly (readonly number[])[], right: readonly number[]): number[] {
  const rows = matrix.map((row, i) => [...row, right[i]!]);
  const n = rows.length;
  for (let column = 0; column < n; column++) {
    let pivot = column;
    for (let i = column + 1; i < n; i++) if (Math.abs(rows[i]![column]!) > Math.abs(rows[pivot]![column]!)) pivot = i;
    [rows[column], rows[pivot]] = [rows[pivot]!, rows[column]!];
    const row = rows[column]!;
    for (const below of rows.slice(column + 1)) {
      const factor = below[column]! / row[column]!;
      for (let k = column; k <= n; k++) below[k]! -= factor * row[k]!;
    }
  }
  const solution = new Array<number>(n).fill(0);
  for (let i = n - 1; i >= 0; i--) {
    let sum = rows[i]![n]!;
    for (let k = i + 1; k < n; k++) sum -= rows[i]![k]! * solution[k]!;
    solution[i] = sum / rows[i]![i]!;
  }
  return solution;
}

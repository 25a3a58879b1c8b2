import type { NoiseScheduleSettings } from "./betas.js";
import { boolean, number, optional, refuse } from "./config.js";
import { exp32, f32, linspace32, numpyLog32, sqrt32 } from "./float32.js";
import { betaQuantile } from "./incomplete-beta.js";
import { linspace } from "./numpy.js";

/** Stands in for ᾱ_T = 0 where σ_T would be infinite: the smallest positive float16. */
export const SMALLEST_ALPHA = 2 ** -24;

/**
 * Noise level at each training timestep, σ_t = √((1 − ᾱ_t) / ᾱ_t), float32, ascending. √(2²⁴ − 1) is within 10⁻⁸ of a
 * rounding boundary; libtorch rounds it up to 4096, which affects the first steps of such a schedule.
 */
export function trainingSigmas(alphasCumprod: Float32Array): Float32Array {
  return alphasCumprod.map((alpha) => (alpha === SMALLEST_ALPHA ? 4096 : sqrt32(f32(f32(1 - alpha) / alpha))));
}

/** Refuses noise schedules whose last σ is infinite, which solvers in σ cannot start from. */
export function requireFiniteSigmas(className: string, sigmas: Float32Array, settings: NoiseScheduleSettings): void {
  const broken = sigmas.findIndex((sigma) => !Number.isFinite(sigma));
  if (broken < 0) return;
  const key = settings.trained_betas === null ? "beta_end" : "trained_betas";
  refuse(className, key, settings[key], `leaves no signal at timestep ${broken}: its noise level would be infinite`);
}

/**
 * The keys that select another spacing of noise levels (at most one may be set) and its ends (default: those of the
 * training schedule). diffusers uses `sigma_min` and `sigma_max` even in classes that do not declare them.
 */
export const sigmaSpreadKeys = {
  use_karras_sigmas: boolean(false),
  use_exponential_sigmas: boolean(false),
  use_beta_sigmas: boolean(false),
  sigma_min: optional(number(0, { min: 0 })),
  sigma_max: optional(number(0, { min: 0 })),
};

export type SigmaSpread = "karras" | "exponential" | "beta";

export interface SigmaSpreadSettings {
  readonly use_karras_sigmas: boolean;
  readonly use_exponential_sigmas: boolean;
  readonly use_beta_sigmas: boolean;
  readonly sigma_min: number | null;
  readonly sigma_max: number | null;
  readonly num_train_timesteps: number;
}

/** The configured spacing, `null` for the training schedule's noise levels. */
export function sigmaSpread(className: string, settings: SigmaSpreadSettings): SigmaSpread | null {
  const spreads = (["karras", "exponential", "beta"] as const).filter((name) => settings[`use_${name}_sigmas`]);
  const spread = spreads[0] ?? null;
  if (spreads[1] !== undefined)
    refuse(className, `use_${spreads[1]}_sigmas`, true, `cannot be combined with use_${spread}_sigmas`);
  if (spread !== null && settings.num_train_timesteps < 2)
    refuse(className, `use_${spread}_sigmas`, true, "needs num_train_timesteps of at least 2");
  return spread;
}

/**
 * `count` noise levels, descending, in float64, with the configured spacing between the ends of `sigmas` (also
 * descending) or the ends that `ends` gives.
 */
export function spreadSigmas(
  spread: SigmaSpread,
  sigmas: ArrayLike<number>,
  count: number,
  ends: { sigma_min: number | null; sigma_max: number | null },
): number[] {
  const max = ends.sigma_max ?? sigmas[0]!;
  const min = ends.sigma_min ?? sigmas[sigmas.length - 1]!;
  switch (spread) {
    case "karras":
      return karrasSigmas(min, max, count);
    case "exponential":
      return linspace(Math.log(max), Math.log(min), count).map(Math.exp);
    case "beta":
      return betaSigmas(min, max, count);
  }
}

/** Equal steps in σ^(1/ρ), ρ = 7 (Karras et al. 2022, "Elucidating the Design Space of Diffusion-Based Generative Models", equation 5). */
function karrasSigmas(min: number, max: number, count: number): number[] {
  const rho = 7;
  const minRoot = min ** (1 / rho);
  const maxRoot = max ** (1 / rho);
  return linspace(0, 1, count).map((ramp) => (maxRoot + ramp * (minRoot - maxRoot)) ** rho);
}

/** Quantiles of Beta(0.6, 0.6) between the two levels (Lee et al. 2024, "Beta Sampling is All You Need"). */
function betaSigmas(min: number, max: number, count: number): number[] {
  return linspace(0, 1, count).map((ramp) => min + betaQuantile(1 - ramp, 0.6, 0.6) * (max - min));
}

/** Equal steps in log σ between the training levels, in float32, both ends included. */
export function logLinearSigmas(sigmas: Float32Array, count: number): number[] {
  const start = numpyLog32(sigmas[sigmas.length - 1]!);
  return Array.from(linspace32(start, numpyLog32(sigmas[0]!), count), exp32);
}

/** Logarithms of the training noise levels as the interpolation to timesteps uses them. */
export const logSigmas = (sigmas: Float32Array): Float32Array => sigmas.map(numpyLog32);

/** The fractional training timestep with noise level σ: linear in log σ between training levels, clamped at the ends. */
export function sigmaToTimestep(sigma: number, logs: ArrayLike<number>): number {
  return interpolateTimestep(Math.log(Math.max(sigma, 1e-10)), logs, (x) => x);
}

/** {@link sigmaToTimestep} for a σ that diffusers holds in float32. */
export function sigmaToTimestep32(sigma: number, logs: ArrayLike<number>): number {
  return interpolateTimestep(numpyLog32(Math.max(f32(sigma), f32(1e-10))), logs, f32);
}

function interpolateTimestep(logSigma: number, logs: ArrayLike<number>, round: (x: number) => number): number {
  const low = Math.min(lastNotAbove(logs, logSigma, round), logs.length - 2);
  const interval = logs[low]! - logs[low + 1]!;
  const span = logs instanceof Float32Array ? f32(interval) : interval;
  const weight = Math.min(Math.max(round(round(logs[low]! - logSigma) / span), 0), 1);
  return round(1 - weight) * low + weight * (low + 1);
}

/** The last index whose logarithm is not above `x`, 0 if all are. The training table ascends; custom levels need not. */
function lastNotAbove(logs: ArrayLike<number>, x: number, round: (x: number) => number): number {
  const reached = (i: number) => round(x - logs[i]!) >= 0;
  let high = logs.length - 1;
  if (logs instanceof Float32Array) {
    let low = 0;
    while (high - low > 8) {
      const middle = (low + high) >> 1;
      if (reached(middle)) low = middle;
      else high = middle;
    }
  }
  while (high > 0 && !reached(high)) high--;
  return high;
}

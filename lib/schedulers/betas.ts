import { boolean, type ConfigKey, choice, integer, list, number, optional, refuse } from "./config.js";
import { f32, linspace32, sqrt32 } from "./float32.js";

/** Schedules of the variances β_1 … β_T of the forward process. */
export type BetaSchedule = "linear" | "scaled_linear" | "squaredcos_cap_v2" | "laplace" | "sigmoid" | "exp";

/** A hundred times the usual value; larger ones come from broken or hostile files. */
export const MAX_TRAIN_TIMESTEPS = 100_000;

/** The keys of every scheduler's noise schedule. */
export const noiseScheduleKeys = <const T extends BetaSchedule>(
  schedules: readonly T[],
  defaults: { betaStart: number; betaEnd: number; schedule: NoInfer<T> },
) => ({
  num_train_timesteps: integer(1000, { min: 1, max: MAX_TRAIN_TIMESTEPS }),
  beta_start: number(defaults.betaStart, { min: 0, max: 1 }),
  beta_end: number(defaults.betaEnd, { min: 0, max: 1 }),
  beta_schedule: choice(schedules, defaults.schedule),
  trained_betas: optional(list(number(0, { min: 0, max: 1 }))),
});

export const COMMON_BETA_SCHEDULES = ["linear", "scaled_linear", "squaredcos_cap_v2"] as const;
export const rescaleZeroSnrKey: ConfigKey<boolean> = boolean(false);

export interface NoiseScheduleSettings {
  readonly num_train_timesteps: number;
  readonly beta_start: number;
  readonly beta_end: number;
  readonly beta_schedule: BetaSchedule;
  readonly trained_betas: readonly number[] | null;
  readonly rescale_betas_zero_snr?: boolean;
}

/** β_t and ᾱ_t = ∏ (1 − β_s) of the forward process (Ho et al. 2020), float32, both of length T. */
export interface NoiseSchedule {
  readonly betas: Float32Array;
  readonly alphasCumprod: Float32Array;
}

/** Builds the tables; throws `ERR_CONFIG` if values would not be finite. */
export function createNoiseSchedule(className: string, settings: NoiseScheduleSettings): NoiseSchedule {
  let betas = createBetas(className, settings);
  if (settings.rescale_betas_zero_snr) {
    betas = rescaleZeroTerminalSnr(betas);
    if (!betas.every(Number.isFinite))
      refuse(className, "rescale_betas_zero_snr", true, "is not possible: the first and last ᾱ are equal");
  }
  return { betas, alphasCumprod: cumulativeAlphas(betas) };
}

function createBetas(className: string, settings: NoiseScheduleSettings): Float32Array {
  const { num_train_timesteps: count, beta_start: start, beta_end: end, trained_betas: trained } = settings;
  if (trained !== null) {
    if (trained.length !== count)
      refuse(className, "trained_betas", trained, `has ${trained.length} values, num_train_timesteps is ${count}`);
    return Float32Array.from(trained);
  }
  switch (settings.beta_schedule) {
    case "linear":
      return linspace32(start, end, count);
    case "scaled_linear":
      return linspace32(Math.sqrt(start), Math.sqrt(end), count).map((root) => root * root);
    case "sigmoid": {
      const range = f32(end - start);
      return linspace32(-6, 6, count).map((x) => f32(f32(1 / (1 + Math.exp(-x))) * range) + f32(start));
    }
    case "squaredcos_cap_v2":
      return betasForAlphaBar(count, (t) => Math.cos((((t + 0.008) / 1.008) * Math.PI) / 2) ** 2);
    case "laplace":
      return betasForAlphaBar(count, (t) => {
        const sign = 0.5 - t < 0 ? -1 : 1;
        const snr = Math.exp(-0.5 * sign * Math.log(1 - 2 * Math.abs(0.5 - t) + 1e-6));
        return Math.sqrt(snr / (1 + snr));
      });
    case "exp":
      return betasForAlphaBar(count, (t) => Math.exp(t * -12));
  }
}

/** Discretises a continuous ᾱ(t), t in 0..1; β is capped below 1 where ᾱ vanishes (Nichol and Dhariwal 2021). */
function betasForAlphaBar(count: number, alphaBar: (t: number) => number): Float32Array {
  return Float32Array.from({ length: count }, (_, i) =>
    Math.min(1 - alphaBar((i + 1) / count) / alphaBar(i / count), 0.999),
  );
}

/** ᾱ: the running product is kept in float64, each entry stored in float32. */
export function cumulativeAlphas(betas: Float32Array): Float32Array {
  let product = 1;
  return betas.map((beta) => (product *= f32(1 - beta)));
}

/**
 * Shifts and scales √ᾱ so that it ends at exactly zero and keeps its first value: a zero terminal signal-to-noise ratio
 * (Lin et al. 2023, "Common Diffusion Noise Schedules and Sample Steps are Flawed", algorithm 1).
 */
export function rescaleZeroTerminalSnr(betas: Float32Array): Float32Array {
  const roots = cumulativeAlphas(betas).map((alpha) => sqrt32(alpha));
  const first = roots[0]!;
  const last = roots[roots.length - 1]!;
  const scale = f32(first / f32(first - last));
  const alphaBar = roots.map((root) => {
    const shifted = f32(f32(root - last) * scale);
    return shifted * shifted;
  });
  return alphaBar.map((alpha, i) => 1 - (i === 0 ? alpha : f32(alpha / alphaBar[i - 1]!)));
}

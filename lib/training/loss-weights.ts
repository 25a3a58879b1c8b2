import type { TrainOptions } from "./options.js";

/** ᾱ of a timestep: the share of the image's variance. */
type AlphaBar = number;

/** The signal-to-noise ratio ᾱ / (1 − ᾱ). */
export function signalToNoise(alphaBar: AlphaBar): number {
  return alphaBar / (1 - alphaBar);
}

/**
 * What the loss of a timestep counts with Min-SNR-γ (Hang et al. 2023, https://arxiv.org/abs/2303.09556, section 3.4), as in diffusers'
 * scripts: min(SNR, γ) / SNR where the noise is predicted, min(SNR, γ) / (SNR + 1) where the velocity is. Without any signal left the
 * first is 1, its limit; there diffusers divides 0 by 0.
 */
export function minSnrWeight(alphaBar: AlphaBar, gamma: number, predictionType: "epsilon" | "v_prediction"): number {
  const snr = signalToNoise(alphaBar);
  const least = Math.min(snr, gamma);
  if (predictionType === "v_prediction") return least / (snr + 1);
  return snr === 0 ? 1 : least / snr;
}

/**
 * δ of the pseudo-Huber losses at a timestep (Khrapov et al. 2024, https://arxiv.org/abs/2403.16728, section 3.3): `c` at every one,
 * or falling from 1 to about `c`, exponentially in the timestep or with the noise.
 *
 * @param timesteps how many there are
 */
export function huberDelta(
  schedule: TrainOptions["huberSchedule"],
  c: number,
  timestep: number,
  timesteps: number,
  alphaBar: AlphaBar,
): number {
  if (schedule === "constant") return c;
  if (schedule === "exponential") return c ** (timestep / timesteps);
  const sigma = Math.sqrt((1 - alphaBar) / alphaBar);
  return (1 - c) / (1 + sigma) ** 2 + c;
}

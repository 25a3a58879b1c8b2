import type { Tensor } from "../core/tensor.js";
import { type Expression, evaluate } from "./expression.js";
import { f32, roundTo, sqrt32 } from "./float32.js";
import type { PredictionType } from "./prediction.js";
import { logSigmas, type SigmaSpread, type SigmaSpreadSettings, sigmaToTimestep, spreadSigmas } from "./sigmas.js";
import { indexOfNearest } from "./step-cursor.js";
import type { TimestepSpacing } from "./timesteps.js";
import { TrainedSigmaScheduler } from "./trained-sigma-scheduler.js";

/**
 * The schedulers that integrate the probability flow of x = x_0 + σ·ε (Karras et al. 2022). The model was trained on
 * x / √(σ² + 1), which `scaleModelInput` gives.
 */
export abstract class VarianceExplodingScheduler extends TrainedSigmaScheduler {
  override get initNoiseSigma(): number {
    const max = this.sigmas.reduce((a, b) => Math.max(a, b));
    const { timestep_spacing: spacing } = this.settings as unknown as { timestep_spacing: TimestepSpacing };
    // With "leading" spacing a run does not start from pure noise, so its initial level includes a part of signal.
    return spacing === "leading" ? inputScale(max) : max;
  }

  /** The model's input, x / √(σ² + 1). */
  override async scaleModelInput(sample: Tensor, timestep: number): Promise<Tensor> {
    return sample.div(inputScale(this.sigmas[this.currentStep(timestep)]!));
  }

  protected marginal(sigma: number, dtype: Tensor["dtype"]) {
    return { alpha: 1, sigma: roundTo(dtype, sigma) };
  }

  /** Matches the nearest timestep, since fractional timesteps may be rounded differently on another machine. */
  protected unknownTimestep(timestep: number): number {
    const index = indexOfNearest(timestep, this.timesteps, TIMESTEP_TOLERANCE);
    return index ?? this.invalid(`timestep ${timestep} is not one of the scheduler's timesteps`);
  }

  /** Noise levels and timesteps of a run, with the configured spacing. `timesteps` are float32. */
  protected respread(timesteps: number[], sigmas: number[], spread: SigmaSpread | null, ends: Ends) {
    if (spread === null) return { timesteps, sigmas };
    const logs = logSigmas(this.trainingSigmas);
    const levels = spreadSigmas(spread, sigmas, timesteps.length, ends);
    return { sigmas: levels, timesteps: levels.map((sigma) => f32(sigmaToTimestep(sigma, logs))) };
  }

  /** Sets the run's tables and resets its state. */
  protected begin(timesteps: number[], sigmas: number[], steps: number): void {
    const levels = sigmas.map(f32);
    if (!levels.every(Number.isFinite)) this.invalid("the noise levels are not finite; see sigma_min and sigma_max");
    this.reset();
    this.timesteps = timesteps;
    this.sigmas = levels;
    this.numInferenceSteps = steps;
  }

  /** The model's prediction of x_0 at a noise level, rounded as in diffusers. */
  protected denoise(sigma: number, sample: Tensor, output: Tensor, dtype: Tensor["dtype"]): Promise<Tensor> {
    const { prediction_type: type } = this.settings as unknown as { prediction_type: PredictionType };
    return evaluate(denoised(type, sigma, sample, output), dtype, this.className);
  }
}

/** Fractional timesteps depend on the last digits of the noise levels, most where those hardly change. */
const TIMESTEP_TOLERANCE = 0.05;

type Ends = Pick<SigmaSpreadSettings, "sigma_min" | "sigma_max">;

/** √(σ² + 1), the standard deviation of x = x_0 + σ·ε for data of unit variance. */
export const inputScale = (sigma: number): number => sqrt32(f32(f32(sigma * sigma) + 1));

/** x_0 as an expression in the sample x = x_0 + σ·ε and the model output. */
function denoised(type: PredictionType, sigma: number, sample: Tensor, output: Tensor): Expression {
  switch (type) {
    case "epsilon":
    case "flow_prediction":
      return [
        [1, sample],
        [-sigma, output],
      ];
    case "sample":
      return [[1, output]];
    case "v_prediction":
      return [
        [-f32(sigma / inputScale(sigma)), output],
        [1 / f32(f32(sigma * sigma) + 1), sample],
      ];
  }
}

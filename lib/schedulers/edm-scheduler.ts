import type { Tensor } from "../core/tensor.js";
import { MAX_TRAIN_TIMESTEPS } from "./betas.js";
import { choice, integer, nullAs, number, type SchedulerConfig, type Schema, type Settings } from "./config.js";
import { evaluate } from "./expression.js";
import { exp32, f32, linspace32, log32, roundTo, sqrt32 } from "./float32.js";
import { SigmaScheduler } from "./sigma-scheduler.js";

/** The keys of all EDM schedulers. */
export const edmKeys = {
  // Files of other classes have null here.
  sigma_min: nullAs(0.002, number(0.002, { above: 0 })),
  sigma_max: nullAs(80, number(80, { above: 0 })),
  sigma_data: number(0.5, { above: 0 }),
  sigma_schedule: choice(["karras", "exponential"], "karras"),
  num_train_timesteps: integer(1000, { min: 1, max: MAX_TRAIN_TIMESTEPS }),
  prediction_type: choice(["epsilon", "v_prediction"], "epsilon"),
  rho: number(7, { above: 0 }),
};

/**
 * The schedulers of models with the preconditioning of Karras et al. 2022 ("Elucidating the Design Space of Diffusion-Based
 * Generative Models", table 1), such as CosXL: the model gets x / √(σ² + σ_data²) and ¼·ln σ, and predicts
 * x_0 = c_skip·x + c_out·output. Noise levels are spread between two ends without a noise schedule of training.
 */
export abstract class EdmScheduler extends SigmaScheduler {
  declare protected readonly settings: SigmaScheduler["settings"] & Settings<typeof edmKeys>;

  protected constructor(className: string, schema: Schema, config: SchedulerConfig) {
    super(className, schema, config);
    // Before setTimesteps, pipelines and training see the whole range.
    this.useLevels(this.spread(this.settings.num_train_timesteps), 0);
  }

  override get initNoiseSigma(): number {
    return Math.sqrt(this.settings.sigma_max ** 2 + 1);
  }

  /** The model's input, x / √(σ² + σ_data²). */
  override async scaleModelInput(sample: Tensor, timestep: number): Promise<Tensor> {
    const sigma = this.sigmas[this.currentStep(timestep)]!;
    return await evaluate([[f32(1 / this.deviation(sigma)), sample]], sample.dtype, this.className);
  }

  /** `count` noise levels, descending. */
  protected abstract spread(count: number): number[];

  /** Equal steps in σ^(1/ρ) (equation 5), at positions 0..1. */
  protected karrasSigmas(ramp: readonly number[], round: (x: number) => number): number[] {
    const { sigma_min: min, sigma_max: max, rho } = this.settings;
    const high = max ** (1 / rho);
    const change = round(min ** (1 / rho) - high);
    return ramp.map((position) => round(round(round(high) + round(position * change)) ** rho));
  }

  /** Equal steps in ln σ. */
  protected exponentialSigmas(count: number): number[] {
    const { sigma_min: min, sigma_max: max } = this.settings;
    return Array.from(linspace32(Math.log(min), Math.log(max), count), exp32).reverse();
  }

  /** Sets the run's tables. */
  protected useLevels(sigmas: readonly number[], last: number): void {
    const levels = sigmas.map(f32);
    if (!levels.every((sigma) => sigma > 0 && Number.isFinite(sigma)))
      this.refuse("sigma_max", "and the other keys of noise levels give levels that are not finite");
    this.timesteps = levels.map((sigma) => f32(0.25 * log32(sigma)));
    this.sigmas = [...levels, f32(last)];
  }

  /** The prediction of x_0 at a noise level. */
  protected denoise(sigma: number, sample: Tensor, output: Tensor, dtype: Tensor["dtype"]): Promise<Tensor> {
    const { sigma_data: data, prediction_type: type } = this.settings;
    const skip = f32(f32(data ** 2) / f32(f32(sigma * sigma) + f32(data ** 2)));
    const out = f32(f32(sigma * data) / this.deviation(sigma));
    return evaluate(
      [
        [skip, sample],
        [type === "epsilon" ? out : -out, output],
      ],
      dtype,
      this.className,
    );
  }

  protected marginal(sigma: number, dtype: Tensor["dtype"]) {
    return { alpha: 1, sigma: roundTo(dtype, sigma) };
  }

  /** √(σ² + σ_data²), the standard deviation of x. */
  private deviation(sigma: number): number {
    return sqrt32(f32(f32(sigma * sigma) + f32(this.settings.sigma_data ** 2)));
  }
}

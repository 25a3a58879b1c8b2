import type { Tensor } from "../core/tensor.js";
import { boolean, choice, number, type SchedulerConfig, type Schema } from "./config.js";
import { f32, log32, roundTo, sqrt32 } from "./float32.js";
import { type Level, levelOf } from "./level.js";
import { logSigmas, type SigmaSpread, sigmaToTimestep, spreadSigmas } from "./sigmas.js";
import { TrainedSigmaScheduler } from "./trained-sigma-scheduler.js";

/** The keys of flow-matching noise levels. */
export const flowKeys = {
  use_flow_sigmas: boolean(false),
  flow_shift: number(1, { above: 0 }),
  use_dynamic_shifting: boolean(false),
  time_shift_type: choice(["exponential", "linear"], "exponential"),
};

/** A run's schedule: timesteps (fractional), their noise levels, and the final level. */
export interface Schedule {
  readonly timesteps: readonly number[];
  readonly sigmas: readonly number[];
  readonly last: number;
}

/**
 * The solvers that integrate in λ, half the logarithm of the signal-to-noise ratio (Lu et al. 2022). Samples keep unit
 * variance: the noise levels are rescaled to x = α·x_0 + σ·ε with α² + σ² = 1, or α + σ = 1 for flow matching.
 */
export abstract class MultistepSolver extends TrainedSigmaScheduler {
  declare protected readonly settings: TrainedSigmaScheduler["settings"] & {
    readonly use_flow_sigmas: boolean;
    readonly sigma_min: number | null;
    readonly sigma_max: number | null;
  };

  protected constructor(className: string, schema: Schema, config: SchedulerConfig) {
    super(className, schema, config);
    // Ascending, as in diffusers before setTimesteps.
    this.sigmas = Array.from(this.trainingSigmas);
  }

  protected marginal(sigma: number, dtype: Tensor["dtype"]) {
    const round = (x: number) => roundTo(dtype, x);
    const level = round(sigma);
    if (this.settings.use_flow_sigmas) return { alpha: round(1 - level), sigma: level };
    const alpha = round(1 / round(Math.sqrt(round(round(level * level) + 1))));
    return { alpha, sigma: round(level * alpha) };
  }

  /** A level of the schedule in the solver's parametrisation. */
  protected level(index: number): Level {
    const { alpha, sigma } = this.marginal(this.sigmas[index]!, "float32");
    return levelOf(alpha, sigma);
  }

  /** A timestep that is not in the schedule is treated as the last. */
  protected unknownTimestep(_timestep: number): number {
    return this.timesteps.length - 1;
  }

  /** λ of each training timestep, float32, descending. */
  protected trainingLambdas(): Float32Array {
    return this.alphasCumprod.map((alpha) => log32(sqrt32(alpha)) - log32(sqrt32(f32(1 - alpha))));
  }

  /** Levels spread over the whole training schedule, and their fractional timesteps. */
  protected spreadSchedule(spread: SigmaSpread, count: number) {
    const sigmas = spreadSigmas(spread, this.trainingSigmas.slice().reverse(), count, this.settings);
    return { sigmas, timesteps: this.timestepsOf(sigmas) };
  }

  /** Fractional training timesteps of noise levels. */
  protected timestepsOf(sigmas: readonly number[]): number[] {
    const logs = logSigmas(this.trainingSigmas);
    return sigmas.map((sigma) => sigmaToTimestep(sigma, logs));
  }

  /** Sets the run's tables (with timesteps truncated to integers) and resets its state. */
  protected begin(timesteps: readonly number[], sigmas: readonly number[]): void {
    const levels = sigmas.map(f32);
    if (!levels.every(Number.isFinite)) this.invalid("the noise levels are not finite; see sigma_min and sigma_max");
    if (this.settings.use_flow_sigmas && levels[0]! >= 1)
      this.invalid(`noise level ${levels[0]} is not below 1, as use_flow_sigmas needs`);
    this.reset();
    this.timesteps = timesteps.map(Math.trunc);
    this.sigmas = levels;
    this.numInferenceSteps = timesteps.length;
  }
}

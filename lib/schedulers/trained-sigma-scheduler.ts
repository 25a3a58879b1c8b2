import type { SchedulerConfig, Schema } from "./config.js";
import { interpolate } from "./numpy.js";
import { SigmaScheduler } from "./sigma-scheduler.js";
import { requireFiniteSigmas, SMALLEST_ALPHA, trainingSigmas } from "./sigmas.js";

/** The schedulers in σ whose noise levels are those of the training timesteps, or lie between them. */
export abstract class TrainedSigmaScheduler extends SigmaScheduler {
  /** σ of each training timestep, ascending. */
  protected readonly trainingSigmas: Float32Array;

  protected constructor(className: string, schema: Schema, config: SchedulerConfig) {
    super(className, schema, config);
    const last = this.alphasCumprod.length - 1;
    if (this.settings.rescale_betas_zero_snr) this.alphasCumprod[last] = SMALLEST_ALPHA;
    this.trainingSigmas = trainingSigmas(this.alphasCumprod);
    requireFiniteSigmas(className, this.trainingSigmas, this.settings);
    this.sigmas = [...Array.from(this.trainingSigmas).reverse(), 0];
    this.timesteps = Array.from(this.trainingSigmas, (_, i) => last - i);
  }

  /** Noise levels of (possibly fractional) training timesteps. */
  protected sigmasAt(timesteps: readonly number[]): number[] {
    return timesteps.map((t) => interpolate(t, this.trainingSigmas));
  }
}

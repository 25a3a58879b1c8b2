import type { Tensor } from "../core/tensor.js";
import { COMMON_BETA_SCHEDULES, noiseScheduleKeys, rescaleZeroSnrKey } from "./betas.js";
import { choice, integer, type SchedulerConfig, type Settings } from "./config.js";
import { eulerStep } from "./euler-step.js";
import { f32, log32, roundTo } from "./float32.js";
import {
  checkSetTimesteps,
  checkStepOptions,
  type SetTimestepsOptions,
  type StepOptions,
  type StepOutput,
} from "./options.js";
import { combineRows, timestepsPerRow } from "./rows.js";
import {
  logLinearSigmas,
  logSigmas,
  type SigmaSpread,
  sigmaSpread,
  sigmaSpreadKeys,
  sigmaToTimestep32,
} from "./sigmas.js";
import { indexOfTimestep } from "./step-cursor.js";
import { requireStepCount, spacedTimesteps, timestepSpacingKey } from "./timesteps.js";
import { VarianceExplodingScheduler } from "./variance-exploding.js";

const SCHEMA = {
  ...noiseScheduleKeys(COMMON_BETA_SCHEDULES, { betaStart: 0.0001, betaEnd: 0.02, schedule: "linear" }),
  prediction_type: choice(["epsilon", "sample", "v_prediction"], "epsilon", { original_sample: "sample" }),
  interpolation_type: choice(["linear", "log_linear"], "linear"),
  ...sigmaSpreadKeys,
  timestep_spacing: timestepSpacingKey("linspace"),
  timestep_type: choice(["discrete", "continuous"], "discrete"),
  steps_offset: integer(0),
  rescale_betas_zero_snr: rescaleZeroSnrKey,
  final_sigmas_type: choice(["zero", "sigma_min"], "zero"),
};

/**
 * Euler steps along the probability flow, with optional noise per step (`sChurn`); see {@link eulerStep}.
 *
 * @example
 * ```js
 * import { InstructPix2PixPipeline, EulerDiscreteScheduler } from "instruct-pix2pix";
 *
 * const pipe = await InstructPix2PixPipeline.fromPretrained("./model");
 * pipe.scheduler = EulerDiscreteScheduler.fromConfig(pipe.scheduler.config);
 * const { images } = await pipe.run({ image: "photo.jpg", prompt: "make it winter", numInferenceSteps: 20 });
 * await images[0].save("winter.png");
 * pipe.dispose();
 * ```
 */
export class EulerDiscreteScheduler extends VarianceExplodingScheduler {
  declare protected readonly settings: Settings<typeof SCHEMA>;
  private readonly spread: SigmaSpread | null;

  constructor(config: SchedulerConfig = {}) {
    super("EulerDiscreteScheduler", SCHEMA, config);
    this.spread = sigmaSpread(this.className, this.settings);
    if (this.continuous) this.timesteps = this.sigmas.slice(0, -1).map(continuousTimestep);
  }

  /** Takes `timesteps`, or `sigmas` including the final level, instead of a step count. */
  setTimesteps(numInferenceSteps?: number | null, options: SetTimestepsOptions = {}): void {
    checkSetTimesteps(this.className, numInferenceSteps, options, ["timesteps", "sigmas"]);
    const { timesteps, sigmas } = options.sigmas
      ? this.customSigmas(options.sigmas)
      : this.spacedSchedule(options.timesteps ?? this.spaced(numInferenceSteps), options.timesteps !== undefined);
    this.begin(timesteps, sigmas, timesteps.length);
    if (this.continuous) this.timesteps = this.sigmas.slice(0, -1).map(continuousTimestep);
  }

  async step(modelOutput: Tensor, timestep: number, sample: Tensor, options: StepOptions = {}): Promise<StepOutput> {
    checkStepOptions(options);
    this.requireSameShape(modelOutput, sample);
    const index = this.currentStep(timestep);
    const sigma = this.sigmas[index]!;
    const result = await eulerStep({
      ...{ className: this.className, modelOutput, timestep, sample, options },
      levels: [sigma, this.sigmas[index + 1]!],
      count: this.sigmas.length - 1,
      // ε and the slope refer to the raised level, but v to the level before: as in diffusers.
      denoise: (start, raised) =>
        this.denoise(this.settings.prediction_type === "epsilon" ? raised : sigma, start, modelOutput, "float32"),
    });
    this.cursor.advance();
    return result;
  }

  /** √ᾱ_i·ε − √(1 − ᾱ_i)·x, where i is, as in diffusers, the timestep's index in the schedule. */
  async getVelocity(sample: Tensor, noise: Tensor, timesteps: readonly number[]): Promise<Tensor> {
    const round = (x: number) => roundTo(sample.dtype, x);
    const alphas = timestepsPerRow(this.className, timesteps, sample).map((t) =>
      round(this.alphasCumprod[indexOfTimestep(t, this.timesteps) ?? this.unknownTimestep(t)]!),
    );
    return combineRows(
      [alphas.map((alpha) => round(Math.sqrt(alpha))), noise],
      [alphas.map((alpha) => -round(Math.sqrt(round(1 - alpha)))), sample],
    );
  }

  /** Whether the model gets ¼·ln σ instead of a training timestep (Karras et al. 2022, table 1). */
  private get continuous(): boolean {
    return this.settings.timestep_type === "continuous" && this.settings.prediction_type === "v_prediction";
  }

  private spaced(count: number | null | undefined): number[] {
    return spacedTimesteps(this.settings, requireStepCount(this.className, count, this.settings.num_train_timesteps));
  }

  private spacedSchedule(given: readonly number[], custom: boolean) {
    if (custom && (this.spread !== null || this.continuous))
      this.invalid("custom timesteps cannot be combined with use_*_sigmas or continuous timesteps");
    const timesteps = given.map(f32);
    const interpolated =
      this.settings.interpolation_type === "linear"
        ? this.sigmasAt(timesteps)
        : logLinearSigmas(this.trainingSigmas, timesteps.length + 1);
    const respread = this.respread(timesteps, interpolated, this.spread, this.settings);
    const last = this.settings.final_sigmas_type === "zero" ? 0 : this.trainingSigmas[0]!;
    return { timesteps: respread.timesteps, sigmas: [...respread.sigmas, last] };
  }

  private customSigmas(sigmas: readonly number[]) {
    if (sigmas.length < 2) this.invalid("sigmas needs at least the first level and the last, usually 0");
    const logs = logSigmas(this.trainingSigmas);
    return { sigmas: [...sigmas], timesteps: sigmas.slice(0, -1).map((sigma) => f32(sigmaToTimestep32(sigma, logs))) };
  }
}

const continuousTimestep = (sigma: number): number => 0.25 * log32(sigma);

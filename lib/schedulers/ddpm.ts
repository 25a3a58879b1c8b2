import type { Tensor } from "../core/tensor.js";
import { AlphaScheduler } from "./alpha-scheduler.js";
import { noiseScheduleKeys, rescaleZeroSnrKey } from "./betas.js";
import { choice, integer, nullAs, type SchedulerConfig, type Settings } from "./config.js";
import { drawNoise, type Expression, scaled, sum, withTemporaries } from "./expression.js";
import { exp32, f32, log32, roundHalfEven, sqrt32 } from "./float32.js";
import { learnedRangeDeviation } from "./learned-range.js";
import {
  checkSetTimesteps,
  checkStepOptions,
  type SetTimestepsOptions,
  type StepOptions,
  type StepOutput,
} from "./options.js";
import { clipKeys, thresholdKeys } from "./threshold.js";
import { requireStepCount, spacedTimesteps, timestepSpacingKey } from "./timesteps.js";

/** The variance of a step's noise. */
export const VARIANCE_TYPES = [
  "fixed_small",
  "fixed_small_log",
  "fixed_large",
  "fixed_large_log",
  "learned",
  "learned_range",
] as const;

const SCHEMA = {
  ...noiseScheduleKeys(["linear", "scaled_linear", "squaredcos_cap_v2", "laplace", "sigmoid"], {
    betaStart: 0.0001,
    betaEnd: 0.02,
    schedule: "linear",
  }),
  variance_type: nullAs("fixed_small", choice(VARIANCE_TYPES, "fixed_small")),
  prediction_type: choice(["epsilon", "sample", "v_prediction"], "epsilon"),
  ...clipKeys(true),
  ...thresholdKeys,
  timestep_spacing: timestepSpacingKey("leading"),
  steps_offset: integer(0),
  rescale_betas_zero_snr: rescaleZeroSnrKey,
};

/**
 * Ancestral sampling of the reverse process (Ho et al. 2020, "Denoising Diffusion Probabilistic Models", equation 7), and
 * the noise schedule that training uses.
 *
 * `variance_type` "learned" and "learned_range" (Nichol and Dhariwal 2021) take a model output with twice the sample's
 * channels. "fixed_large_log" is the same variance as "fixed_large"; diffusers takes the root of its logarithm and gets NaN,
 * or no noise where that logarithm is 0 (the first step with `rescale_betas_zero_snr`).
 *
 * @example
 * ```js
 * import { InstructPix2PixPipeline, DDPMScheduler } from "instruct-pix2pix";
 *
 * const pipe = await InstructPix2PixPipeline.fromPretrained("./model");
 * pipe.scheduler = DDPMScheduler.fromConfig(pipe.scheduler.config);
 * const { images } = await pipe.run({ image: "photo.jpg", prompt: "make it winter", numInferenceSteps: 20 });
 * await images[0].save("winter.png");
 * pipe.dispose();
 * ```
 */
export class DDPMScheduler extends AlphaScheduler {
  declare protected readonly settings: Settings<typeof SCHEMA>;
  /** Set if a timestep's predecessor is the next one in the list, not t − 1. */
  private scheduled = false;

  constructor(config: SchedulerConfig = {}) {
    super("DDPMScheduler", SCHEMA, config);
    this.timesteps = Array.from(this.alphasCumprod, (_, i) => this.alphasCumprod.length - 1 - i);
  }

  setTimesteps(numInferenceSteps?: number | null, options: SetTimestepsOptions = {}): void {
    checkSetTimesteps(this.className, numInferenceSteps, options, ["timesteps"]);
    if (options.timesteps !== undefined) {
      this.timesteps = this.withinSchedule(descending(options.timesteps, (message) => this.invalid(message)));
      this.numInferenceSteps = this.timesteps.length;
    } else {
      const count = requireStepCount(this.className, numInferenceSteps, this.settings.num_train_timesteps);
      this.timesteps = this.withinSchedule(spacedTimesteps(this.settings, count).map(roundHalfEven));
      this.numInferenceSteps = count;
    }
    this.scheduled = true;
  }

  async step(modelOutput: Tensor, timestep: number, sample: Tensor, options: StepOptions = {}): Promise<StepOutput> {
    checkStepOptions(options);
    return withTemporaries(async (own) => {
      const { prediction_type: type, variance_type: varianceType } = this.settings;
      const learned = varianceType === "learned" || varianceType === "learned_range";
      let output = modelOutput;
      let predictedVariance: Tensor | undefined;
      if (learned) {
        const channels = sample.shape[1] ?? 0;
        if (modelOutput.shape[1] !== 2 * channels)
          this.refuse("variance_type", `needs a model output of ${2 * channels} channels, not ${modelOutput.shape[1]}`);
        output = await own(modelOutput.slice(1, 0, channels));
        predictedVariance = await own(modelOutput.slice(1, channels, 2 * channels));
      }
      this.requireSameShape(output, sample);

      const previous = this.previousTimestep(timestep);
      const alpha = this.alphaAt(timestep);
      const alphaPrev = previous >= 0 ? this.alphaAt(previous) : 1;
      const beta = f32(1 - alpha);
      const betaPrev = f32(1 - alphaPrev);
      const stepAlpha = f32(alpha / alphaPrev);
      const stepBeta = f32(1 - stepAlpha);

      const original = await this.predictOriginal(type, alpha, sample, output, own);
      const mean = sum(scaled(f32(f32(sqrt32(alphaPrev) * stepBeta) / beta), original), [
        [f32(f32(sqrt32(stepAlpha) * betaPrev) / beta), sample],
      ]);
      let noise: Expression = [];
      if (timestep > 0) {
        const drawn = await own(drawNoise(output, options));
        const variance = Math.max(f32(f32(betaPrev / beta) * stepBeta), f32(1e-20));
        const deviation = (predicted: Tensor) =>
          varianceType === "learned" ? predicted.sqrt() : learnedRangeDeviation(predicted, variance, stepBeta);
        noise = predictedVariance
          ? [[1, await own((await own(deviation(predictedVariance))).mul(drawn))]]
          : [[this.fixedDeviation(variance, stepBeta), drawn]];
      }
      return this.finish(sum(mean, noise), original, sample, timestep, options);
    });
  }

  /** Standard deviation of the noise: of the posterior β̃_t, or of β_t, its lower and upper bounds. */
  private fixedDeviation(posterior: number, stepBeta: number): number {
    switch (this.settings.variance_type) {
      case "fixed_small_log":
        return exp32(f32(0.5 * log32(posterior)));
      case "fixed_large":
      case "fixed_large_log":
        return sqrt32(stepBeta);
      default:
        return sqrt32(posterior);
    }
  }

  private previousTimestep(timestep: number): number {
    if (!this.scheduled) return timestep - 1;
    const index = this.timesteps.indexOf(timestep);
    if (index < 0) this.invalid(`timestep ${timestep} is not one of the scheduler's timesteps`);
    return this.timesteps[index + 1] ?? -1;
  }
}

/** Custom timesteps as whole numbers; throws through `invalid` unless they descend. */
export function descending(timesteps: readonly number[], invalid: (message: string) => never): number[] {
  const unordered = timesteps.findIndex((t, i) => i > 0 && t >= timesteps[i - 1]!);
  if (unordered > 0) invalid(`timesteps must descend: ${timesteps[unordered]} follows ${timesteps[unordered - 1]}`);
  const broken = timesteps.find((t) => !Number.isInteger(t));
  if (broken !== undefined) invalid(`timestep ${broken} is not a whole number`);
  return [...timesteps];
}

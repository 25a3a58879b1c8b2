import type { Tensor } from "../core/tensor.js";
import { AlphaScheduler } from "./alpha-scheduler.js";
import { COMMON_BETA_SCHEDULES, noiseScheduleKeys, rescaleZeroSnrKey } from "./betas.js";
import { boolean, choice, integer, type SchedulerConfig, type Settings } from "./config.js";
import { drawNoise, type Expression, scaled, sum, withTemporaries } from "./expression.js";
import { f32, roundHalfEven, sqrt32 } from "./float32.js";
import {
  checkSetTimesteps,
  checkStepOptions,
  numberOption,
  type SetTimestepsOptions,
  type StepOptions,
  type StepOutput,
} from "./options.js";
import { noiseFrom, noiseGiven } from "./prediction.js";
import { clipKeys, thresholdKeys } from "./threshold.js";
import { requireStepCount, spacedTimesteps, timestepSpacingKey } from "./timesteps.js";

const SCHEMA = {
  ...noiseScheduleKeys(COMMON_BETA_SCHEDULES, { betaStart: 0.0001, betaEnd: 0.02, schedule: "linear" }),
  prediction_type: choice(["epsilon", "sample", "v_prediction"], "epsilon"),
  set_alpha_to_one: boolean(true),
  ...clipKeys(true),
  ...thresholdKeys,
  timestep_spacing: timestepSpacingKey("leading"),
  steps_offset: integer(0),
  rescale_betas_zero_snr: rescaleZeroSnrKey,
};

/**
 * Non-Markovian sampling with few steps, deterministic unless `eta` > 0 (Song et al. 2020, "Denoising Diffusion Implicit
 * Models", equations 12 and 16).
 *
 * @example
 * ```js
 * import { InstructPix2PixPipeline, DDIMScheduler } from "instruct-pix2pix";
 *
 * const pipe = await InstructPix2PixPipeline.fromPretrained("./model");
 * pipe.scheduler = DDIMScheduler.fromConfig(pipe.scheduler.config);
 * const { images } = await pipe.run({ image: "photo.jpg", prompt: "make it winter", numInferenceSteps: 20 });
 * await images[0].save("winter.png");
 * pipe.dispose();
 * ```
 */
export class DDIMScheduler extends AlphaScheduler {
  declare protected readonly settings: Settings<typeof SCHEMA>;

  constructor(config: SchedulerConfig = {}) {
    super("DDIMScheduler", SCHEMA, config);
    this.timesteps = Array.from(this.alphasCumprod, (_, i) => this.alphasCumprod.length - 1 - i);
  }

  setTimesteps(numInferenceSteps?: number | null, options: SetTimestepsOptions = {}): void {
    checkSetTimesteps(this.className, numInferenceSteps, options);
    const count = requireStepCount(this.className, numInferenceSteps, this.settings.num_train_timesteps);
    this.timesteps = this.withinSchedule(spacedTimesteps(this.settings, count).map(roundHalfEven));
    this.numInferenceSteps = count;
  }

  async step(modelOutput: Tensor, timestep: number, sample: Tensor, options: StepOptions = {}): Promise<StepOutput> {
    checkStepOptions(options);
    this.requireTimestepsSet();
    this.requireSameShape(modelOutput, sample);
    const eta = numberOption(this.className, "eta", options.eta, 0);
    if (eta > 0 && options.generator !== undefined && options.varianceNoise !== undefined)
      this.invalid("step takes only one of generator and varianceNoise");
    return withTemporaries(async (own) => {
      const { prediction_type: type, num_train_timesteps: train, set_alpha_to_one: endAtOne } = this.settings;
      const previous = timestep - Math.floor(train / this.numInferenceSteps!);
      const alphaProd = this.alphaAt(timestep);
      const alphaProdPrev = previous >= 0 ? this.alphaAt(previous) : endAtOne ? 1 : this.alphasCumprod[0]!;
      const alpha = sqrt32(alphaProd);
      const beta = f32(1 - alphaProd);
      const betaPrev = f32(1 - alphaProdPrev);

      const original = await this.predictOriginal(type, alphaProd, sample, modelOutput, own);
      const epsilon = options.useClippedModelOutput
        ? noiseGiven(original, alpha, sqrt32(beta), sample)
        : noiseFrom(type, alpha, sqrt32(beta), sample, modelOutput);

      const variance = f32(f32(betaPrev / beta) * f32(1 - f32(alphaProd / alphaProdPrev)));
      const deviation = eta > 0 ? f32(f32(eta) * sqrt32(variance)) : 0;
      // With eta = 1 and ᾱ_t → 0 rounding can make the variance of the direction to x_t negative.
      const direction = sqrt32(Math.max(f32(betaPrev - f32(deviation * deviation)), 0));
      let noise: Expression = [];
      if (eta > 0) noise = [[deviation, options.varianceNoise ?? (await own(drawNoise(modelOutput, options)))]];
      const update = sum(scaled(sqrt32(alphaProdPrev), original), scaled(direction, epsilon), noise);
      return this.finish(update, original, sample, timestep, options);
    });
  }
}

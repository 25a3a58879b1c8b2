import type { Tensor } from "../core/tensor.js";
import { AlphaScheduler } from "./alpha-scheduler.js";
import { COMMON_BETA_SCHEDULES, noiseScheduleKeys, rescaleZeroSnrKey } from "./betas.js";
import { boolean, choice, integer, number, type SchedulerConfig, type Settings } from "./config.js";
import { descending } from "./ddpm.js";
import { drawNoise, type Expression, scaled, sum, withTemporaries } from "./expression.js";
import { f32, sqrt32 } from "./float32.js";
import { linspace } from "./numpy.js";
import {
  checkSetTimesteps,
  checkStepOptions,
  type SetTimestepsOptions,
  type StepOptions,
  type StepOutput,
} from "./options.js";
import { StepCursor } from "./step-cursor.js";
import { clipKeys, thresholdKeys } from "./threshold.js";
import { requireStepCount, timestepSpacingKey } from "./timesteps.js";

const SCHEMA = {
  ...noiseScheduleKeys(COMMON_BETA_SCHEDULES, { betaStart: 0.00085, betaEnd: 0.012, schedule: "scaled_linear" }),
  original_inference_steps: integer(50, { min: 1 }),
  ...clipKeys(false),
  set_alpha_to_one: boolean(true),
  prediction_type: choice(["epsilon", "sample", "v_prediction"], "epsilon"),
  ...thresholdKeys,
  timestep_scaling: number(10),
  rescale_betas_zero_snr: rescaleZeroSnrKey,
  // Accepted without effect: the spacing is that of the distillation.
  timestep_spacing: timestepSpacingKey("leading"),
  steps_offset: integer(0),
};

/** Standard deviation of the data that the boundary condition assumes. */
const SIGMA_DATA = 0.5;

/**
 * Multistep sampling of a latent consistency model (Luo et al. 2023, "Latent Consistency Models", algorithm 3): each
 * evaluation jumps to x_0, which is noised to the next timestep of the distillation schedule.
 *
 * @example
 * ```js
 * import { InstructPix2PixPipeline, LCMScheduler } from "instruct-pix2pix";
 *
 * const pipe = await InstructPix2PixPipeline.fromPretrained("./model");
 * pipe.scheduler = LCMScheduler.fromConfig(pipe.scheduler.config);
 * const { images } = await pipe.run({ image: "photo.jpg", prompt: "make it winter", numInferenceSteps: 20 });
 * await images[0].save("winter.png");
 * pipe.dispose();
 * ```
 */
export class LCMScheduler extends AlphaScheduler {
  declare protected readonly settings: Settings<typeof SCHEMA>;
  private readonly cursor = new StepCursor();

  constructor(config: SchedulerConfig = {}) {
    super("LCMScheduler", SCHEMA, config);
    this.timesteps = Array.from(this.alphasCumprod, (_, i) => this.alphasCumprod.length - 1 - i);
  }

  /** At most `original_inference_steps` × `strength` steps. Takes descending `timesteps` instead of a step count. */
  setTimesteps(numInferenceSteps?: number | null, options: SetTimestepsOptions = {}): void {
    checkSetTimesteps(this.className, numInferenceSteps, options, ["timesteps", "strength", "originalInferenceSteps"]);
    const train = this.settings.num_train_timesteps;
    const original = options.originalInferenceSteps ?? this.settings.original_inference_steps;
    const strength = options.strength ?? 1;
    if (!(Number.isSafeInteger(original) && original >= 1 && original <= train))
      this.invalid(`original_inference_steps ${original} is not a whole number in 1..${train} (num_train_timesteps)`);
    if (!(strength > 0 && strength <= 1)) this.invalid(`strength ${strength} is not a number in 0..1, 0 excluded`);
    if (options.timesteps !== undefined) {
      const custom = this.withinSchedule(descending(options.timesteps, (message) => this.invalid(message)));
      this.numInferenceSteps = custom.length;
      this.timesteps = custom.slice(custom.length - Math.trunc(custom.length * strength));
    } else {
      const count = requireStepCount(this.className, numInferenceSteps, train);
      const available = Math.trunc(original * strength);
      if (count > available)
        this.invalid(`numInferenceSteps ${count} is more than the ${available} of original_inference_steps × strength`);
      const stride = Math.floor(train / original);
      const indices = linspace(0, available, count, false).map(Math.floor);
      this.timesteps = indices.map((i) => (available - i) * stride - 1);
      this.numInferenceSteps = count;
    }
    this.reset();
  }

  /** Start index of the next run, for runs that skip the first steps. Reset by `setTimesteps`. */
  override setBeginIndex(index: number): void {
    this.cursor.begin = index;
  }

  override reset(): void {
    this.cursor.reset();
  }

  /** `predOriginalSample` is x_0 under the boundary condition, diffusers' `denoised`. */
  async step(modelOutput: Tensor, timestep: number, sample: Tensor, options: StepOptions = {}): Promise<StepOutput> {
    checkStepOptions(options);
    this.requireTimestepsSet();
    this.requireSameShape(modelOutput, sample);
    const index = this.cursor.at(timestep, this.timesteps, () =>
      this.invalid(`timestep ${timestep} is not one of the scheduler's timesteps`),
    );
    const next = this.timesteps[index + 1] ?? timestep;
    const alphaNext = this.alphaAt(next);
    const { prediction_type: type, timestep_scaling: scaling } = this.settings;
    const result = await withTemporaries(async (own) => {
      const original = await this.predictOriginal(type, this.alphaAt(timestep), sample, modelOutput, own);
      const time = f32(timestep * scaling);
      const spread = f32(f32(time * time) + SIGMA_DATA ** 2);
      const keep: Expression = [[f32(SIGMA_DATA ** 2 / spread), sample]];
      const denoised = sum(scaled(f32(time / sqrt32(spread)), original), keep);
      if (index === this.numInferenceSteps! - 1) return this.finish(denoised, denoised, sample, timestep, options);
      const noise = await own(drawNoise(modelOutput, options));
      const noised = sum(scaled(sqrt32(alphaNext), denoised), [[sqrt32(f32(1 - alphaNext)), noise]]);
      return this.finish(noised, denoised, sample, timestep, options);
    });
    this.cursor.advance();
    return result;
  }
}

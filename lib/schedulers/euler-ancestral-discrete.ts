import type { Tensor } from "../core/tensor.js";
import { COMMON_BETA_SCHEDULES, noiseScheduleKeys, rescaleZeroSnrKey } from "./betas.js";
import { choice, integer, type SchedulerConfig, type Settings } from "./config.js";
import { derivative } from "./derivative.js";
import { drawNoise, type Expression, evaluate, withTemporaries } from "./expression.js";
import { f32, sqrt32 } from "./float32.js";
import {
  checkSetTimesteps,
  checkStepOptions,
  type SetTimestepsOptions,
  type StepOptions,
  type StepOutput,
} from "./options.js";
import { requireStepCount, spacedTimesteps, timestepSpacingKey } from "./timesteps.js";
import { VarianceExplodingScheduler } from "./variance-exploding.js";

const SCHEMA = {
  ...noiseScheduleKeys(COMMON_BETA_SCHEDULES, { betaStart: 0.0001, betaEnd: 0.02, schedule: "linear" }),
  prediction_type: choice(["epsilon", "v_prediction"], "epsilon"),
  timestep_spacing: timestepSpacingKey("linspace"),
  steps_offset: integer(0),
  rescale_betas_zero_snr: rescaleZeroSnrKey,
};

/**
 * Ancestral sampling with Euler steps (k-diffusion's `sample_euler_ancestral`): a step goes below the next noise level
 * and adds noise back up to it. Draws noise in every step, also in the last, where it has no effect.
 *
 * @example
 * ```js
 * import { InstructPix2PixPipeline, EulerAncestralDiscreteScheduler } from "instruct-pix2pix";
 *
 * const pipe = await InstructPix2PixPipeline.fromPretrained("./model");
 * pipe.scheduler = EulerAncestralDiscreteScheduler.fromConfig(pipe.scheduler.config);
 * const { images } = await pipe.run({ image: "photo.jpg", prompt: "make it winter", numInferenceSteps: 20 });
 * await images[0].save("winter.png");
 * pipe.dispose();
 * ```
 */
export class EulerAncestralDiscreteScheduler extends VarianceExplodingScheduler {
  declare protected readonly settings: Settings<typeof SCHEMA>;

  constructor(config: SchedulerConfig = {}) {
    super("EulerAncestralDiscreteScheduler", SCHEMA, config);
  }

  setTimesteps(numInferenceSteps?: number | null, options: SetTimestepsOptions = {}): void {
    checkSetTimesteps(this.className, numInferenceSteps, options);
    const count = requireStepCount(this.className, numInferenceSteps, this.settings.num_train_timesteps);
    const timesteps = spacedTimesteps(this.settings, count).map(f32);
    this.begin(timesteps, [...this.sigmasAt(timesteps), 0], count);
  }

  async step(modelOutput: Tensor, timestep: number, sample: Tensor, options: StepOptions = {}): Promise<StepOutput> {
    checkStepOptions(options);
    this.requireSameShape(modelOutput, sample);
    const index = this.currentStep(timestep);
    const sigma = this.sigmas[index]!;
    const next = this.sigmas[index + 1]!;
    const square = (x: number) => f32(x * x);
    const up = sqrt32(f32(f32(square(next) * f32(square(sigma) - square(next))) / square(sigma)));
    // Rounding can make the difference negative between two very different levels.
    const down = sqrt32(Math.max(f32(square(next) - square(up)), 0));
    const dtype = modelOutput.dtype;
    const result = await withTemporaries(async (own) => {
      const original = await own(this.denoise(sigma, sample, modelOutput, "float32"));
      const slope = await own(derivative(sample, original, sigma, "float32"));
      const noise = await own(drawNoise(modelOutput, options));
      const update: Expression = [
        [1, sample],
        [f32(down - sigma), slope],
        [up, noise],
      ];
      const prevSample = await evaluate(update, dtype, `${this.className} at timestep ${timestep}`);
      return options.predOriginalSample
        ? { prevSample, predOriginalSample: await original.to({ dtype }) }
        : { prevSample };
    });
    this.cursor.advance();
    return result;
  }
}

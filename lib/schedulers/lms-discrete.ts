import type { Tensor } from "../core/tensor.js";
import { COMMON_BETA_SCHEDULES, noiseScheduleKeys } from "./betas.js";
import { choice, integer, type SchedulerConfig, type Settings } from "./config.js";
import { derivative } from "./derivative.js";
import { type Expression, evaluate, retain } from "./expression.js";
import { f32 } from "./float32.js";
import { History } from "./history.js";
import {
  checkSetTimesteps,
  checkStepOptions,
  type SetTimestepsOptions,
  type StepOptions,
  type StepOutput,
} from "./options.js";
import { gaussKronrod21 } from "./quadrature.js";
import { type SigmaSpread, sigmaSpread, sigmaSpreadKeys } from "./sigmas.js";
import { requireStepCount, spacedTimesteps, timestepSpacingKey } from "./timesteps.js";
import { VarianceExplodingScheduler } from "./variance-exploding.js";

const SCHEMA = {
  ...noiseScheduleKeys(COMMON_BETA_SCHEDULES, { betaStart: 0.0001, betaEnd: 0.02, schedule: "linear" }),
  ...sigmaSpreadKeys,
  prediction_type: choice(["epsilon", "sample", "v_prediction"], "epsilon"),
  timestep_spacing: timestepSpacingKey("linspace"),
  steps_offset: integer(0),
};

/**
 * Linear multistep (Adams-Bashforth) integration of the probability flow with unequal steps, order 4 by default
 * (k-diffusion's `sample_lms`).
 *
 * @example
 * ```js
 * import { InstructPix2PixPipeline, LMSDiscreteScheduler } from "instruct-pix2pix";
 *
 * const pipe = await InstructPix2PixPipeline.fromPretrained("./model");
 * pipe.scheduler = LMSDiscreteScheduler.fromConfig(pipe.scheduler.config);
 * const { images } = await pipe.run({ image: "photo.jpg", prompt: "make it winter", numInferenceSteps: 20 });
 * await images[0].save("winter.png");
 * pipe.dispose();
 * ```
 */
export class LMSDiscreteScheduler extends VarianceExplodingScheduler {
  declare protected readonly settings: Settings<typeof SCHEMA>;
  private readonly spread: SigmaSpread | null;
  private readonly derivatives = new History(Infinity);

  constructor(config: SchedulerConfig = {}) {
    super("LMSDiscreteScheduler", SCHEMA, config);
    this.spread = sigmaSpread(this.className, this.settings);
    this.setTimesteps(this.settings.num_train_timesteps);
  }

  setTimesteps(numInferenceSteps?: number | null, options: SetTimestepsOptions = {}): void {
    checkSetTimesteps(this.className, numInferenceSteps, options);
    const count = requireStepCount(this.className, numInferenceSteps, this.settings.num_train_timesteps);
    const spaced = spacedTimesteps(this.settings, count).map(f32);
    // This class's Karras levels always end at the schedule's levels.
    const ends = this.spread === "karras" ? { sigma_min: null, sigma_max: null } : this.settings;
    const { timesteps, sigmas } = this.respread(spaced, this.sigmasAt(spaced), this.spread, ends);
    this.begin(timesteps, [...sigmas, 0], count);
  }

  override reset(): void {
    super.reset();
    this.derivatives.clear();
  }

  async step(modelOutput: Tensor, timestep: number, sample: Tensor, options: StepOptions = {}): Promise<StepOutput> {
    checkStepOptions(options);
    this.requireSameShape(modelOutput, sample);
    const order = options.order ?? 4;
    if (!Number.isSafeInteger(order) || order < 1) this.invalid(`order ${order} is not a whole number of at least 1`);
    const index = this.currentStep(timestep);
    const sigma = this.sigmas[index]!;
    const original = await this.denoise(sigma, sample, modelOutput, sample.dtype);
    try {
      this.derivatives.capacity = order;
      this.derivatives.push(await derivative(sample, original, sigma, sample.dtype));
      const used = Math.min(index + 1, order);
      const coefficients = multistepCoefficients(this.sigmas, index, used);
      const slopes = this.derivatives.tensors.slice(0, used);
      // The slopes are summed first: at high noise levels the order of the additions matters.
      const update: Expression = [...slopes.map((slope, i) => [coefficients[i]!, slope] as const), [1, sample]];
      const prevSample = await evaluate(update, sample.dtype, `${this.className} at timestep ${timestep}`);
      this.cursor.advance();
      return options.predOriginalSample ? { prevSample, predOriginalSample: await retain(original) } : { prevSample };
    } finally {
      original.dispose();
    }
  }
}

/**
 * Integrals over σ_i … σ_{i+1} of the Lagrange polynomials through the last `order` noise levels, newest first. Quadrature
 * of float32 values, as in diffusers, and not the exact integral: between close levels the two differ visibly.
 */
export function multistepCoefficients(sigmas: readonly number[], index: number, order: number): number[] {
  const nodes = Array.from({ length: order }, (_, k) => sigmas[index - k]!);
  return nodes.map((node, current) => {
    const polynomial = (x: number) =>
      nodes.reduce((product, other, k) => {
        if (k === current) return product;
        return f32(product * f32(f32(f32(x) - other) / f32(node - other)));
      }, 1);
    return gaussKronrod21(polynomial, sigmas[index]!, sigmas[index + 1]!);
  });
}

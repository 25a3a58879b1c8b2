import type { Tensor } from "../core/tensor.js";
import { type Expression, evaluate } from "./expression.js";
import { f32, roundTo, sqrt32 } from "./float32.js";
import type { StepOptions, StepOutput } from "./options.js";
import { noiseless, originalFrom, type PredictionType } from "./prediction.js";
import { combineRows, timestepsPerRow } from "./rows.js";
import { Scheduler } from "./scheduler.js";
import { dynamicThreshold, type ThresholdSettings } from "./threshold.js";

/** The bound applied to x_0, if the class has one. */
interface LimitSettings extends Partial<ThresholdSettings> {
  readonly thresholding?: boolean;
  readonly clip_sample?: boolean;
  readonly clip_sample_range?: number;
}

/** The schedulers that step in ᾱ: x_t = √ᾱ_t·x_0 + √(1 − ᾱ_t)·ε at whole training timesteps. */
export abstract class AlphaScheduler extends Scheduler {
  /** ᾱ at a training timestep. */
  protected alphaAt(timestep: number): number {
    const alpha = this.alphasCumprod[timestep];
    if (alpha !== undefined) return alpha;
    return this.invalid(`timestep ${timestep} is not a whole number in 0..${this.alphasCumprod.length - 1}`);
  }

  /** Returns `timesteps` if each has an ᾱ; otherwise throws, naming the first without. */
  protected withinSchedule(timesteps: number[]): number[] {
    const last = this.alphasCumprod.length - 1;
    const outside = timesteps.find((t) => !(t >= 0 && t <= last));
    if (outside !== undefined)
      this.invalid(`timestep ${outside} lies outside 0..${last}; use fewer steps or another steps_offset`);
    return timesteps;
  }

  /**
   * x_0 as predicted at ᾱ_t, thresholded or clipped as configured. Where a bound applies it is computed, through `own`;
   * otherwise it stays an expression.
   */
  protected async predictOriginal(
    type: PredictionType,
    alphaProd: number,
    sample: Tensor,
    output: Tensor,
    own: (tensor: Promise<Tensor>) => Promise<Tensor>,
  ): Promise<Expression> {
    const settings = this.settings as LimitSettings;
    const alpha = sqrt32(alphaProd);
    const sigma = sqrt32(f32(1 - alphaProd));
    if (!settings.thresholding && !settings.clip_sample) return originalFrom(type, alpha, sigma, sample, output);

    // Rounded as in diffusers: with ᾱ near 0 the rounding of x − σ·ε is a visible part of x_0. At ᾱ = 0 only the sign
    // survives the division, and the bound makes it finite.
    const dtype = sample.dtype === "float64" ? "float64" : "float32";
    const compute = (expression: Expression) => own(evaluate(expression, dtype, this.className));
    const original =
      type === "epsilon"
        ? await own((await compute(noiseless(sigma, sample, output))).div(alpha))
        : await compute(originalFrom(type, alpha, sigma, sample, output));
    const range = settings.clip_sample_range ?? 1;
    const bounded = settings.thresholding
      ? dynamicThreshold(original, settings as ThresholdSettings)
      : original.clamp(-range, range);
    return [[1, await own(bounded)]];
  }

  /** Evaluates a step's result; x_0 only on request. */
  protected async finish(
    previous: Expression,
    original: Expression,
    sample: Tensor,
    timestep: number,
    options: StepOptions,
  ): Promise<StepOutput> {
    const where = `${this.className} at timestep ${timestep}`;
    const prevSample = await evaluate(previous, sample.dtype, where);
    if (!options.predOriginalSample) return { prevSample };
    return { prevSample, predOriginalSample: await evaluate(original, sample.dtype, where) };
  }

  async addNoise(original: Tensor, noise: Tensor, timesteps: readonly number[]): Promise<Tensor> {
    const { signal, spread } = this.marginals(original, timesteps);
    return combineRows([signal, original], [spread, noise]);
  }

  /** The velocity √ᾱ_t·ε − √(1 − ᾱ_t)·x_t that a v-predicting model is trained on; arguments as for `addNoise`. */
  async getVelocity(sample: Tensor, noise: Tensor, timesteps: readonly number[]): Promise<Tensor> {
    const { signal, spread } = this.marginals(sample, timesteps);
    return combineRows([signal, noise], [spread.map((value) => -value), sample]);
  }

  /** √ᾱ and √(1 − ᾱ) of each row, rounded as a table in the tensor's dtype would be. */
  private marginals(tensor: Tensor, timesteps: readonly number[]) {
    const round = (x: number) => roundTo(tensor.dtype, x);
    const alphas = timestepsPerRow(this.className, timesteps, tensor).map((t) => round(this.alphaAt(t)));
    return {
      signal: alphas.map((alpha) => round(Math.sqrt(alpha))),
      spread: alphas.map((alpha) => round(Math.sqrt(round(1 - alpha)))),
    };
  }
}

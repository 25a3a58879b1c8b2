import type { Tensor } from "../core/tensor.js";
import { AlphaScheduler } from "./alpha-scheduler.js";
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
import { clipKeys } from "./threshold.js";
import { requireStepCount } from "./timesteps.js";

const SCHEMA = {
  num_train_timesteps: integer(1000, { min: 2, max: 100_000 }),
  variance_type: nullAs("fixed_small_log", choice(["fixed_small_log", "learned_range"], "fixed_small_log")),
  prediction_type: choice(["epsilon", "sample"], "epsilon"),
  ...clipKeys(true),
  beta_schedule: choice(["squaredcos_cap_v2"], "squaredcos_cap_v2"),
};

/** What the noise schedule's other keys are where a class has none of them. */
const SCHEDULE = { beta_start: 0, beta_end: 0, trained_betas: null };

/**
 * The sampler of unCLIP's priors (Ramesh et al. 2022, https://arxiv.org/abs/2204.06125): ancestral sampling of the reverse
 * process (Ho et al. 2020) over timesteps from the last to 0, both included.
 *
 * A step leads to t − 1, as in diffusers; where fewer timesteps are set, the step option `prevTimestep` names the next of them.
 * `numInferenceSteps` is at least 2, since the spacing of fewer is not defined.
 *
 * @example
 * ```js
 * import { UnCLIPScheduler, Tensor } from "instruct-pix2pix";
 *
 * const scheduler = UnCLIPScheduler.fromConfig({ num_train_timesteps: 1000, variance_type: "fixed_small_log" });
 * scheduler.setTimesteps(10);
 * let sample = await Tensor.randn([1, 4, 8, 8]);
 * for (const [i, timestep] of scheduler.timesteps.entries()) {
 *   const output = await sample.mul(0.1); // what a model would predict
 *   const prevTimestep = scheduler.timesteps[i + 1];
 *   ({ prevSample: sample } = await scheduler.step(output, timestep, sample, { prevTimestep }));
 * }
 * console.log(sample.shape);
 * ```
 */
export class UnCLIPScheduler extends AlphaScheduler {
  declare protected readonly settings: Settings<typeof SCHEMA> & typeof SCHEDULE;

  constructor(config: SchedulerConfig = {}) {
    super("UnCLIPScheduler", SCHEMA, config, SCHEDULE);
    this.timesteps = Array.from(this.alphasCumprod, (_, i) => this.alphasCumprod.length - 1 - i);
  }

  setTimesteps(numInferenceSteps?: number | null, options: SetTimestepsOptions = {}): void {
    checkSetTimesteps(this.className, numInferenceSteps, options);
    const train = this.settings.num_train_timesteps;
    const count = requireStepCount(this.className, numInferenceSteps, train);
    if (count < 2) this.invalid("numInferenceSteps is at least 2: the timesteps reach from the last one to 0");
    const ratio = (train - 1) / (count - 1);
    this.timesteps = Array.from({ length: count }, (_, i) => roundHalfEven(i * ratio)).toReversed();
    this.numInferenceSteps = count;
  }

  async step(modelOutput: Tensor, timestep: number, sample: Tensor, options: StepOptions = {}): Promise<StepOutput> {
    checkStepOptions(options);
    return withTemporaries(async (own) => {
      const { prediction_type: type, variance_type: varianceType } = this.settings;
      let output = modelOutput;
      let predictedVariance: Tensor | undefined;
      if (varianceType === "learned_range") {
        const channels = sample.shape[1] ?? 0;
        if (modelOutput.shape[1] !== 2 * channels)
          this.refuse("variance_type", `needs a model output of ${2 * channels} channels, not ${modelOutput.shape[1]}`);
        output = await own(modelOutput.slice(1, 0, channels));
        predictedVariance = await own(modelOutput.slice(1, channels, 2 * channels));
      }
      this.requireSameShape(output, sample);

      const previous = options.prevTimestep ?? timestep - 1;
      const alpha = this.alphaAt(timestep);
      const alphaPrev = previous >= 0 ? this.alphaAt(previous) : 1;
      const next = previous === timestep - 1;
      const stepBeta = next ? this.betas[timestep]! : f32(1 - f32(alpha / alphaPrev));
      const stepAlpha = f32(1 - stepBeta);
      const beta = f32(1 - alpha);
      const betaPrev = f32(1 - alphaPrev);

      const original = await this.predictOriginal(type, alpha, sample, output, own);
      const mean = sum(scaled(f32(f32(sqrt32(alphaPrev) * stepBeta) / beta), original), [
        [f32(f32(sqrt32(stepAlpha) * betaPrev) / beta), sample],
      ]);
      let noise: Expression = [];
      if (timestep > 0) {
        const drawn = await own(drawNoise(output, options));
        const variance = f32(f32(betaPrev / beta) * stepBeta);
        noise = predictedVariance
          ? [[1, await own((await own(learnedRangeDeviation(predictedVariance, variance, stepBeta))).mul(drawn))]]
          : [[exp32(f32(0.5 * log32(Math.max(variance, f32(1e-20))))), drawn]];
      }
      return this.finish(sum(mean, noise), original, sample, timestep, options);
    });
  }
}

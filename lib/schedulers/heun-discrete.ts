import type { Tensor } from "../core/tensor.js";
import { noiseScheduleKeys } from "./betas.js";
import { choice, integer, type SchedulerConfig, type Settings } from "./config.js";
import { derivative } from "./derivative.js";
import { type Expression, evaluate, retain, withTemporaries } from "./expression.js";
import { f32 } from "./float32.js";
import {
  checkSetTimesteps,
  checkStepOptions,
  type SetTimestepsOptions,
  type StepOptions,
  type StepOutput,
} from "./options.js";
import { type SigmaSpread, sigmaSpread, sigmaSpreadKeys } from "./sigmas.js";
import { clipKeys } from "./threshold.js";
import { requireStepCount, spacedTimesteps, timestepSpacingKey } from "./timesteps.js";
import { VarianceExplodingScheduler } from "./variance-exploding.js";

const SCHEMA = {
  ...noiseScheduleKeys(["linear", "scaled_linear", "squaredcos_cap_v2", "exp"], {
    betaStart: 0.00085,
    betaEnd: 0.012,
    schedule: "linear",
  }),
  prediction_type: choice(["epsilon", "sample", "v_prediction"], "epsilon"),
  ...sigmaSpreadKeys,
  ...clipKeys(false),
  timestep_spacing: timestepSpacingKey("linspace"),
  steps_offset: integer(0),
};

/** The first half of a Heun step: its start, slope and length. Both tensors are owned. */
interface HalfStep {
  readonly sample: Tensor;
  readonly slope: Tensor;
  readonly length: number;
}

/**
 * Heun's second-order method on the probability flow (Karras et al. 2022, algorithm 1). Every step but the last takes
 * two model evaluations, so that `timesteps` names all but the first twice.
 *
 * @example
 * ```js
 * import { InstructPix2PixPipeline, HeunDiscreteScheduler } from "instruct-pix2pix";
 *
 * const pipe = await InstructPix2PixPipeline.fromPretrained("./model");
 * pipe.scheduler = HeunDiscreteScheduler.fromConfig(pipe.scheduler.config);
 * const { images } = await pipe.run({ image: "photo.jpg", prompt: "make it winter", numInferenceSteps: 20 });
 * await images[0].save("winter.png");
 * pipe.dispose();
 * ```
 */
export class HeunDiscreteScheduler extends VarianceExplodingScheduler {
  declare protected readonly settings: Settings<typeof SCHEMA>;
  override readonly order = 2;
  private readonly spread: SigmaSpread | null;
  private half: HalfStep | null = null;

  constructor(config: SchedulerConfig = {}) {
    super("HeunDiscreteScheduler", SCHEMA, config);
    this.spread = sigmaSpread(this.className, this.settings);
    this.setTimesteps(this.settings.num_train_timesteps);
  }

  /** Takes `timesteps` instead of a step count. */
  setTimesteps(numInferenceSteps?: number | null, options: SetTimestepsOptions = {}): void {
    checkSetTimesteps(this.className, numInferenceSteps, options, ["timesteps"]);
    if (options.timesteps && this.spread !== null)
      this.invalid(`custom timesteps cannot be combined with use_${this.spread}_sigmas`);
    const spaced = (options.timesteps ?? this.spaced(numInferenceSteps)).map(f32);
    const { timesteps, sigmas } = this.respread(spaced, this.sigmasAt(spaced), this.spread, this.settings);
    const twice = (values: number[]) => values.flatMap((value, i) => (i === 0 ? [value] : [value, value]));
    this.begin(twice(timesteps), [...twice(sigmas), 0], timesteps.length);
  }

  override reset(): void {
    super.reset();
    this.half?.sample.dispose();
    this.half?.slope.dispose();
    this.half = null;
  }

  async step(modelOutput: Tensor, timestep: number, sample: Tensor, options: StepOptions = {}): Promise<StepOutput> {
    checkStepOptions(options);
    this.requireSameShape(modelOutput, sample);
    const index = this.currentStep(timestep);
    const { clip_sample: clip, clip_sample_range: range } = this.settings;
    const sigma = this.sigmas[index]!;
    const first = this.half;
    const where = `${this.className} at timestep ${timestep}`;
    const { dtype } = sample;
    const result = await withTemporaries(async (own) => {
      let original = await own(this.denoise(sigma, sample, modelOutput, dtype));
      if (clip) original = await own(original.clamp(-range, range));
      const slope = await own(derivative(sample, original, sigma, dtype));
      const length = first?.length ?? f32(this.sigmas[index + 1]! - sigma);
      const mean = first === null ? slope : await own(evaluate(average(first.slope, slope), dtype, where));
      const update: Expression = [
        [1, first?.sample ?? sample],
        [length, mean],
      ];
      const prevSample = await evaluate(update, dtype, where);
      if (first === null && index + 1 < this.timesteps.length)
        this.half = { sample: await retain(sample), slope: await retain(slope), length };
      return options.predOriginalSample ? { prevSample, predOriginalSample: await retain(original) } : { prevSample };
    });
    if (first !== null) {
      first.sample.dispose();
      first.slope.dispose();
      this.half = null;
    }
    this.cursor.advance();
    return result;
  }

  private spaced(count: number | null | undefined): number[] {
    return spacedTimesteps(this.settings, requireStepCount(this.className, count, this.settings.num_train_timesteps));
  }
}

const average = (a: Tensor, b: Tensor): Expression => [
  [0.5, a],
  [0.5, b],
];

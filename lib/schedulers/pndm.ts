import type { Tensor } from "../core/tensor.js";
import { AlphaScheduler } from "./alpha-scheduler.js";
import { COMMON_BETA_SCHEDULES, noiseScheduleKeys } from "./betas.js";
import { boolean, choice, integer, type SchedulerConfig, type Settings } from "./config.js";
import { type Expression, evaluate, retain, scaled, sum } from "./expression.js";
import { f32, roundHalfEven, sqrt32 } from "./float32.js";
import { History } from "./history.js";
import {
  checkSetTimesteps,
  checkStepOptions,
  type SetTimestepsOptions,
  type StepOptions,
  type StepOutput,
} from "./options.js";
import { requireStepCount, spacedTimesteps, timestepSpacingKey } from "./timesteps.js";

const SCHEMA = {
  ...noiseScheduleKeys(COMMON_BETA_SCHEDULES, { betaStart: 0.0001, betaEnd: 0.02, schedule: "linear" }),
  skip_prk_steps: boolean(false),
  set_alpha_to_one: boolean(false),
  prediction_type: choice(["epsilon", "v_prediction"], "epsilon"),
  timestep_spacing: timestepSpacingKey("leading"),
  steps_offset: integer(0),
};

/** Runge-Kutta start-up covers this many of the first timesteps. */
const ORDER = 4;
/** Weights of the four model outputs of a Runge-Kutta step. */
const RUNGE_KUTTA = [1 / 6, 1 / 3, 1 / 3, 1 / 6] as const;
/** Adams-Bashforth weights by number of known outputs, newest first. */
const ADAMS_BASHFORTH = [
  [1],
  [3 / 2, -1 / 2],
  [23 / 12, -16 / 12, 5 / 12],
  [55 / 24, -59 / 24, 37 / 24, -9 / 24],
] as const;

/**
 * Pseudo numerical methods (Liu et al. 2022, "Pseudo Numerical Methods for Diffusion Models on Manifolds", algorithm 2):
 * three pseudo Runge-Kutta steps of four evaluations each, then a pseudo linear multistep method of order four. With
 * `skip_prk_steps` (Stable Diffusion) the multistep method starts by itself, with one timestep visited twice.
 *
 * @example
 * ```js
 * import { InstructPix2PixPipeline, PNDMScheduler } from "instruct-pix2pix";
 *
 * const pipe = await InstructPix2PixPipeline.fromPretrained("./model");
 * pipe.scheduler = PNDMScheduler.fromConfig(pipe.scheduler.config);
 * const { images } = await pipe.run({ image: "photo.jpg", prompt: "make it winter", numInferenceSteps: 20 });
 * await images[0].save("winter.png");
 * pipe.dispose();
 * ```
 */
export class PNDMScheduler extends AlphaScheduler {
  declare protected readonly settings: Settings<typeof SCHEMA>;
  private rungeKuttaTimesteps: number[] = [];
  private counter = 0;
  /** Model outputs of finished steps, newest first. */
  private readonly outputs = new History(ORDER);
  /** The start sample of a step of several evaluations, and the outputs so far. */
  private readonly start = new History(1);
  private readonly stages = new History(ORDER);

  constructor(config: SchedulerConfig = {}) {
    super("PNDMScheduler", SCHEMA, config);
  }

  /** Without `skip_prk_steps` at least 4 steps. */
  setTimesteps(numInferenceSteps?: number | null, options: SetTimestepsOptions = {}): void {
    checkSetTimesteps(this.className, numInferenceSteps, options);
    const { num_train_timesteps: train, skip_prk_steps: skip } = this.settings;
    const count = requireStepCount(this.className, numInferenceSteps, train);
    const spaced = this.withinSchedule(spacedTimesteps(this.settings, count).map(roundHalfEven));
    if (skip) {
      this.rungeKuttaTimesteps = [];
      // The second timestep occurs twice: as the end of the first step and as a start.
      this.timesteps = spaced.length < 2 ? spaced : [spaced[0]!, spaced[1]!, ...spaced.slice(1)];
    } else {
      if (count < ORDER)
        this.invalid(`numInferenceSteps ${count} is fewer than ${ORDER}, which skip_prk_steps false needs`);
      const half = Math.floor(Math.floor(train / count) / 2);
      const [first, second, third, fourth] = spaced as [number, number, number, number];
      this.rungeKuttaTimesteps = [
        [first, second + half, second + half, second],
        [second, third + half, third + half, third],
        [third, fourth + half, fourth + half, fourth],
      ].flat();
      this.timesteps = [...this.rungeKuttaTimesteps, ...spaced.slice(ORDER - 1)];
    }
    this.numInferenceSteps = count;
    this.reset();
  }

  override reset(): void {
    this.counter = 0;
    for (const history of [this.outputs, this.start, this.stages]) history.clear();
  }

  async step(modelOutput: Tensor, timestep: number, sample: Tensor, options: StepOptions = {}): Promise<StepOutput> {
    checkStepOptions(options);
    this.requireTimestepsSet();
    this.requireSameShape(modelOutput, sample);
    const prevSample = await (this.counter < this.rungeKuttaTimesteps.length
      ? this.rungeKuttaStep(modelOutput, timestep, sample)
      : this.multistep(modelOutput, timestep, sample));
    this.counter += 1;
    return { prevSample };
  }

  /** One of the four evaluations of a Runge-Kutta step; every one starts from the sample of the first. */
  private async rungeKuttaStep(output: Tensor, timestep: number, sample: Tensor): Promise<Tensor> {
    const stage = this.counter % 4;
    const stride = Math.floor(this.settings.num_train_timesteps / this.numInferenceSteps!);
    const previous = stage % 2 === 1 ? timestep : timestep - Math.floor(stride / 2);
    const from = this.rungeKuttaTimesteps[this.counter - stage]!;
    const direction: Expression =
      stage < 3
        ? [[1, output]]
        : [
            ...this.stages.tensors.map((kept, i): [number, Tensor] => [RUNGE_KUTTA[i + 1]!, kept]),
            [RUNGE_KUTTA[0], output],
          ];
    const result = await this.transfer(this.start.tensors[0] ?? sample, from, previous, direction);
    if (stage === 0) {
      this.outputs.push(await retain(output));
      this.start.push(await retain(sample));
    }
    if (stage === 3) this.stages.clear();
    else this.stages.push(await retain(output));
    if (stage === 3) this.start.clear();
    return result;
  }

  private async multistep(output: Tensor, timestep: number, sample: Tensor): Promise<Tensor> {
    const stride = Math.floor(this.settings.num_train_timesteps / this.numInferenceSteps!);
    if (this.counter === 1 && this.settings.skip_prk_steps) {
      // The second evaluation repeats the first step with the mean of both ends.
      const mean: Expression = [
        [0.5, output],
        [0.5, this.outputs.tensors[0]!],
      ];
      const result = await this.transfer(this.start.tensors[0]!, timestep + stride, timestep, mean);
      this.start.clear();
      return result;
    }
    const known = [output, ...this.outputs.tensors].slice(0, ORDER);
    const weights = ADAMS_BASHFORTH[known.length - 1]!;
    const result = await this.transfer(
      sample,
      timestep,
      timestep - stride,
      known.map((tensor, i): [number, Tensor] => [weights[i]!, tensor]),
    );
    this.outputs.push(await retain(output));
    if (this.counter === 0) this.start.push(await retain(sample));
    return result;
  }

  /** Equation 9: x at `to` from x at `from` along a noise (or velocity) prediction. */
  private transfer(sample: Tensor, from: number, to: number, output: Expression): Promise<Tensor> {
    const alpha = this.alphaAt(from);
    const alphaTo = to >= 0 ? this.alphaAt(to) : this.settings.set_alpha_to_one ? 1 : this.alphasCumprod[0]!;
    const beta = f32(1 - alpha);
    const betaTo = f32(1 - alphaTo);
    const denominator = f32(f32(alpha * sqrt32(betaTo)) + sqrt32(f32(f32(alpha * beta) * alphaTo)));
    const slope = f32(alphaTo - alpha) / denominator;
    const epsilon: Expression =
      this.settings.prediction_type === "epsilon"
        ? output
        : sum(scaled(sqrt32(alpha), output), [[sqrt32(beta), sample]]);
    const update = sum([[sqrt32(f32(alphaTo / alpha)), sample]], scaled(-slope, epsilon));
    return evaluate(update, sample.dtype, `${this.className} at timestep ${from}`);
  }
}

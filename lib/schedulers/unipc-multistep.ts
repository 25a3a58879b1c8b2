import type { Tensor } from "../core/tensor.js";
import { COMMON_BETA_SCHEDULES, noiseScheduleKeys, rescaleZeroSnrKey } from "./betas.js";
import {
  boolean,
  choice,
  integer,
  list,
  number,
  optional,
  type SchedulerConfig,
  type Settings,
  unsupported,
} from "./config.js";
import { type Expression, evaluate, retain, withTemporaries } from "./expression.js";
import { roundHalfEven } from "./float32.js";
import { History } from "./history.js";
import { possibleOrder } from "./level.js";
import { flowKeys, MultistepSolver, type Schedule } from "./multistep-solver.js";
import { linspace } from "./numpy.js";
import {
  checkSetTimesteps,
  checkStepOptions,
  type SetTimestepsOptions,
  type StepOptions,
  type StepOutput,
} from "./options.js";
import { noiseFrom, noiseless, originalFrom } from "./prediction.js";
import { logSigmas, type SigmaSpread, sigmaSpread, sigmaSpreadKeys, sigmaToTimestep, spreadSigmas } from "./sigmas.js";
import { dynamicThreshold, thresholdKeys } from "./threshold.js";
import { requireStepCount, solverTimesteps, timestepSpacingKey } from "./timesteps.js";
import { unipcUpdate } from "./unipc-update.js";

const SCHEMA = {
  ...noiseScheduleKeys(COMMON_BETA_SCHEDULES, { betaStart: 0.0001, betaEnd: 0.02, schedule: "linear" }),
  solver_order: integer(2, { min: 1 }),
  prediction_type: choice(["epsilon", "sample", "v_prediction", "flow_prediction"], "epsilon"),
  ...thresholdKeys,
  predict_x0: boolean(true),
  solver_type: choice(["bh1", "bh2"], "bh2", { midpoint: "bh2", heun: "bh2", logrho: "bh2" }),
  lower_order_final: boolean(true),
  disable_corrector: list(integer(0)),
  solver_p: unsupported("another scheduler as predictor"),
  ...sigmaSpreadKeys,
  ...flowKeys,
  shift_terminal: optional(number(0, { min: 0 })),
  timestep_spacing: timestepSpacingKey("linspace"),
  steps_offset: integer(0),
  final_sigmas_type: choice(["zero", "sigma_min"], "zero"),
  rescale_betas_zero_snr: rescaleZeroSnrKey,
};

/**
 * A multistep predictor (UniP) with a corrector (UniC) that costs no further model evaluation (Zhao et al. 2023, "UniPC:
 * A Unified Predictor-Corrector Framework for Fast Sampling of Diffusion Models"). Where the formulas divide by zero or
 * infinity, their limit is taken: `solver_type` "bh1" in a last step to σ = 0, where diffusers' result is NaN, and levels that
 * coincide. With `predict_x0` false and `rescale_betas_zero_snr` the first steps subtract numbers of about 4096 times the
 * result, so that it has the rounding errors of float32 times 4096, here and in diffusers.
 *
 * @example
 * ```js
 * import { InstructPix2PixPipeline, UniPCMultistepScheduler } from "instruct-pix2pix";
 *
 * const pipe = await InstructPix2PixPipeline.fromPretrained("./model");
 * pipe.scheduler = UniPCMultistepScheduler.fromConfig(pipe.scheduler.config);
 * const { images } = await pipe.run({ image: "photo.jpg", prompt: "make it winter", numInferenceSteps: 20 });
 * await images[0].save("winter.png");
 * pipe.dispose();
 * ```
 */
export class UniPCMultistepScheduler extends MultistepSolver {
  declare protected readonly settings: Settings<typeof SCHEMA>;
  private readonly spread: SigmaSpread | null;
  /** Predictions (x_0, or ε) of the last steps. */
  private readonly predictions: History;
  /** The corrected sample at the start of the last step. */
  private readonly lastSample = new History(1);
  private lastOrder = 0;
  private stepsTaken = 0;

  constructor(config: SchedulerConfig = {}) {
    super("UniPCMultistepScheduler", SCHEMA, config);
    this.spread = sigmaSpread(this.className, this.settings);
    this.predictions = new History(this.settings.solver_order);
    const { predict_x0: predictsOriginal, prediction_type: type, final_sigmas_type: final } = this.settings;
    if (!predictsOriginal && type === "flow_prediction")
      this.refuse("prediction_type", "is not possible with predict_x0 false");
    if (!predictsOriginal && final === "zero")
      this.refuse("final_sigmas_type", 'is not possible with predict_x0 false; use "sigma_min"');
    if (this.settings.shift_terminal !== null && !this.settings.use_flow_sigmas)
      this.refuse("shift_terminal", "needs use_flow_sigmas");
  }

  /** With `use_flow_sigmas` takes `sigmas` instead of a step count; `mu` is needed with `use_dynamic_shifting`. */
  setTimesteps(numInferenceSteps?: number | null, options: SetTimestepsOptions = {}): void {
    checkSetTimesteps(this.className, numInferenceSteps, options, ["sigmas", "mu"]);
    const { use_flow_sigmas: flow, use_dynamic_shifting: dynamic, num_train_timesteps: train } = this.settings;
    if (dynamic !== (options.mu !== undefined))
      this.invalid("setTimesteps needs mu with use_dynamic_shifting, and only then");
    if (options.mu !== undefined && !Number.isFinite(options.mu)) this.invalid(`mu ${options.mu} is not a number`);
    if (options.sigmas && !flow) this.invalid("custom sigmas need use_flow_sigmas");
    const count = options.sigmas?.length ?? requireStepCount(this.className, numInferenceSteps, train);

    const { timesteps, sigmas, last } = this.schedule(count, options);
    this.begin(timesteps, [...sigmas, last]);
  }

  override reset(): void {
    super.reset();
    this.predictions.clear();
    this.lastSample.clear();
    this.stepsTaken = 0;
    this.lastOrder = 0;
  }

  async step(modelOutput: Tensor, timestep: number, sample: Tensor, options: StepOptions = {}): Promise<StepOutput> {
    checkStepOptions(options);
    this.requireTimestepsSet();
    this.requireSameShape(modelOutput, sample);
    const { solver_order: solverOrder, lower_order_final: lower, disable_corrector: disabled } = this.settings;
    const index = this.currentStep(timestep);
    const where = `${this.className} at timestep ${timestep}`;
    const prediction = await this.convert(modelOutput, sample, index);
    const last = this.lastSample.tensors[0];
    const corrected =
      index > 0 && last !== undefined && !disabled.includes(index - 1)
        ? await evaluate(this.update(index, this.lastOrder, last, prediction), sample.dtype, where)
        : await retain(sample);
    this.predictions.push(prediction);
    this.lastSample.push(corrected);

    const left = this.timesteps.length - index;
    const wanted = Math.min(solverOrder, this.stepsTaken + 1, lower ? left : Infinity);
    const order = possibleOrder((i) => this.level(i), index, wanted);
    const prevSample = await evaluate(this.update(index + 1, order, corrected), sample.dtype, where);
    this.lastOrder = order;
    this.stepsTaken += 1;
    this.cursor.advance();
    if (!options.predOriginalSample || !this.settings.predict_x0) return { prevSample };
    return { prevSample, predOriginalSample: await retain(prediction) };
  }

  /** The predictor from `target` − 1 to `target`, or with `reached` the corrector of that step. */
  private update(target: number, order: number, sample: Tensor, reached?: Tensor) {
    return unipcUpdate({
      solver: this.settings.solver_type,
      predictsOriginal: this.settings.predict_x0,
      levels: Array.from({ length: order + 1 }, (_, i) => this.level(target - i)),
      sample,
      predictions: this.predictions.tensors.slice(0, order),
      reached,
    });
  }

  /** Converts the model output to a prediction of x_0 or ε. The caller owns it. */
  private async convert(output: Tensor, sample: Tensor, index: number): Promise<Tensor> {
    const { prediction_type: type, predict_x0: predictsOriginal, thresholding } = this.settings;
    const { alpha, sigma } = this.level(index);
    if (!predictsOriginal && type !== "flow_prediction")
      return evaluate(noiseFrom(type, alpha, sigma, sample, output), sample.dtype, this.className);
    const level = type === "flow_prediction" ? this.sigmas[index]! : sigma;
    const original = originalFrom(type, alpha, level, sample, output);
    if (!thresholding) return evaluate(original, sample.dtype, this.className);
    const dtype = sample.dtype === "float64" ? "float64" : "float32";
    return withTemporaries(async (own) => {
      const compute = (expression: Expression) => own(evaluate(expression, dtype, this.className));
      // (x − σ·ε) / α with two roundings, like diffusers: the difference affects the threshold's quantile.
      const unbounded =
        type === "epsilon"
          ? await own((await compute(noiseless(sigma, sample, output))).div(alpha))
          : await compute(original);
      return dynamicThreshold(unbounded, this.settings);
    });
  }

  /** Timesteps (fractional) and noise levels of a run, and its final level. */
  private schedule(count: number, options: SetTimestepsOptions): Schedule {
    const { use_flow_sigmas: flow, num_train_timesteps: train, final_sigmas_type: final } = this.settings;
    const end = (sigmas: readonly number[]) => (final === "zero" ? 0 : sigmas[sigmas.length - 1]!);
    if (this.spread !== null) {
      const { timesteps, sigmas } = this.spreadLevels(this.spread, options.sigmas, count);
      return { timesteps, sigmas, last: end(sigmas) };
    }
    if (flow) {
      const levels = options.sigmas ?? linspace(1, 1 / train, count + 1).slice(0, -1);
      const sigmas = this.flowSigmas(levels, options.mu);
      return { timesteps: sigmas.map((sigma) => sigma * train), sigmas, last: end(sigmas) };
    }
    const timesteps = solverTimesteps(this.className, this.settings, count);
    return { timesteps, sigmas: this.sigmasAt(timesteps), last: end([this.trainingSigmas[0]!]) };
  }

  private spreadLevels(spread: SigmaSpread, custom: readonly number[] | undefined, count: number) {
    const table = custom ? Float64Array.from(custom) : this.trainingSigmas;
    const sigmas = spreadSigmas(spread, table.slice().reverse(), count, this.settings);
    if (spread === "karras" && this.settings.use_flow_sigmas) {
      const flow = sigmas.map((sigma) => sigma / (sigma + 1));
      return { sigmas: flow, timesteps: flow.map((sigma) => sigma * this.settings.num_train_timesteps) };
    }
    const logs = custom ? table.map(Math.log) : logSigmas(this.trainingSigmas);
    const timesteps = sigmas.map((sigma) => sigmaToTimestep(sigma, logs));
    return { sigmas, timesteps: spread === "karras" ? timesteps.map(roundHalfEven) : timesteps };
  }

  /** Flow-matching levels, shifted towards noise, stretched to end at `shift_terminal`, and kept below 1. */
  private flowSigmas(levels: readonly number[], mu: number | undefined): number[] {
    const { flow_shift: shift, time_shift_type: shiftType, shift_terminal: terminal } = this.settings;
    let sigmas =
      mu === undefined
        ? levels.map((sigma) => (shift * sigma) / (1 + (shift - 1) * sigma))
        : levels.map((sigma) => timeShift(shiftType === "exponential" ? Math.exp(mu) : mu, sigma));
    if (terminal) {
      const stretch = (1 - sigmas[sigmas.length - 1]!) / (1 - terminal);
      sigmas = sigmas.map((sigma) => 1 - (1 - sigma) / stretch);
    }
    // At σ = 1 there is no signal, and ln α is infinite.
    if (Math.abs(sigmas[0]! - 1) < 1e-6) sigmas[0] = sigmas[0]! - 1e-6;
    return sigmas;
  }
}

const timeShift = (shift: number, sigma: number): number => shift / (shift + (1 / sigma - 1));

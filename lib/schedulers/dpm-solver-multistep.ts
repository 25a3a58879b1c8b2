import type { Tensor } from "../core/tensor.js";
import { COMMON_BETA_SCHEDULES, noiseScheduleKeys, rescaleZeroSnrKey } from "./betas.js";
import { boolean, choice, extendedNumber, integer, optional, type SchedulerConfig, type Settings } from "./config.js";
import { VARIANCE_TYPES } from "./ddpm.js";
import { DpmSolverRun, dpmSolverKeys } from "./dpm-solver-run.js";
import { type Expression, evaluate, retain, withTemporaries } from "./expression.js";
import { f32, roundHalfEven } from "./float32.js";
import { flowKeys, MultistepSolver, type Schedule } from "./multistep-solver.js";
import { linspace } from "./numpy.js";
import {
  checkSetTimesteps,
  checkStepOptions,
  type SetTimestepsOptions,
  type StepOptions,
  type StepOutput,
} from "./options.js";
import { noiseFrom, noiseGiven, noiseless, originalFrom } from "./prediction.js";
import { logSigmas, type SigmaSpread, sigmaSpread, sigmaSpreadKeys } from "./sigmas.js";
import { dynamicThreshold } from "./threshold.js";
import { requireStepCount, solverTimesteps, timestepSpacingKey } from "./timesteps.js";

const SCHEMA = {
  ...noiseScheduleKeys(COMMON_BETA_SCHEDULES, { betaStart: 0.0001, betaEnd: 0.02, schedule: "linear" }),
  ...dpmSolverKeys,
  prediction_type: choice(["epsilon", "sample", "v_prediction", "flow_prediction"], "epsilon"),
  algorithm_type: choice(["dpmsolver", "dpmsolver++", "sde-dpmsolver", "sde-dpmsolver++"], "dpmsolver++", {
    deis: "dpmsolver++",
  }),
  ...sigmaSpreadKeys,
  use_lu_lambdas: boolean(false),
  ...flowKeys,
  lambda_min_clipped: extendedNumber(-Infinity),
  // Only the learned types have an effect here: the model output contains a variance too.
  variance_type: optional(choice(VARIANCE_TYPES, "learned")),
  timestep_spacing: timestepSpacingKey("linspace"),
  steps_offset: integer(0),
  rescale_betas_zero_snr: rescaleZeroSnrKey,
};

/**
 * Multistep exponential integrators of order 1 to 3 in λ: DPM-Solver on the noise prediction (Lu et al. 2022),
 * DPM-Solver++ on the data prediction (Lu et al. 2022b), and their stochastic forms (`sde-…`). On the noise prediction the
 * first steps with `rescale_betas_zero_snr` subtract numbers of about 4096 times the result, so that it has the rounding errors
 * of float32 times 4096, here and in diffusers.
 *
 * @example
 * ```js
 * import { InstructPix2PixPipeline, DPMSolverMultistepScheduler } from "instruct-pix2pix";
 *
 * const pipe = await InstructPix2PixPipeline.fromPretrained("./model");
 * pipe.scheduler = DPMSolverMultistepScheduler.fromConfig(pipe.scheduler.config, { use_karras_sigmas: true });
 * const { images } = await pipe.run({ image: "photo.jpg", prompt: "make it winter", numInferenceSteps: 20 });
 * await images[0].save("winter.png");
 * pipe.dispose();
 * ```
 */
export class DPMSolverMultistepScheduler extends MultistepSolver {
  declare protected readonly settings: Settings<typeof SCHEMA>;
  private readonly spread: SigmaSpread | null;
  /** With the predictions of the last steps: x_0, or ε for DPM-Solver. */
  private readonly run: DpmSolverRun;

  constructor(config: SchedulerConfig = {}) {
    super("DPMSolverMultistepScheduler", SCHEMA, config);
    this.spread = sigmaSpread(this.className, this.settings);
    this.run = new DpmSolverRun(this.settings);
    const { algorithm_type: algorithm, final_sigmas_type: final } = this.settings;
    if (!this.predictsOriginal) {
      if (final === "zero")
        this.refuse("final_sigmas_type", `is not possible with algorithm_type "${algorithm}"; use "sigma_min"`);
      if (this.settings.prediction_type === "flow_prediction")
        this.refuse("prediction_type", `is not possible with algorithm_type "${algorithm}"`);
    }
  }

  /** Takes `timesteps` instead of a step count, and `mu` (flow_shift = e^mu) with `use_dynamic_shifting`. */
  setTimesteps(numInferenceSteps?: number | null, options: SetTimestepsOptions = {}): void {
    checkSetTimesteps(this.className, numInferenceSteps, options, ["timesteps", "mu"]);
    const { use_lu_lambdas: lu, use_flow_sigmas: flow, num_train_timesteps: train } = this.settings;
    if (options.mu !== undefined) {
      if (!Number.isFinite(options.mu)) this.invalid(`mu ${options.mu} is not a number`);
      if (!this.settings.use_dynamic_shifting) this.invalid("mu needs use_dynamic_shifting");
      if (this.settings.time_shift_type !== "exponential")
        this.refuse("time_shift_type", 'is not "exponential", as mu needs');
    }
    if (options.timesteps && (this.spread !== null || lu || flow))
      this.invalid("custom timesteps cannot be combined with use_*_sigmas or use_lu_lambdas");
    const count = options.timesteps?.length ?? requireStepCount(this.className, numInferenceSteps, train);
    const { timesteps, sigmas, last } = this.schedule(count, options);
    this.begin(timesteps, [...sigmas, last]);
    if (this.settings.algorithm_type === "sde-dpmsolver" && this.run.reachesThirdOrder(count))
      this.refuse("solver_order", 'is not possible with algorithm_type "sde-dpmsolver", which has orders 1 and 2');
  }

  override reset(): void {
    super.reset();
    this.run.reset();
  }

  async step(modelOutput: Tensor, timestep: number, sample: Tensor, options: StepOptions = {}): Promise<StepOutput> {
    checkStepOptions(options);
    this.requireTimestepsSet();
    const index = this.currentStep(timestep);
    const prediction = await this.convert(modelOutput, sample, index);
    const prevSample = await this.run.step({
      ...{ prediction, sample, index, options },
      level: (i) => this.level(i),
      count: this.timesteps.length,
      where: `${this.className} at timestep ${timestep}`,
    });
    this.cursor.advance();
    if (!options.predOriginalSample || !this.predictsOriginal) return { prevSample };
    return { prevSample, predOriginalSample: await retain(prediction) };
  }

  private get predictsOriginal(): boolean {
    const { algorithm_type: algorithm } = this.settings;
    return algorithm === "dpmsolver++" || algorithm === "sde-dpmsolver++";
  }

  /** Converts the model output to the prediction that the solver integrates. The caller owns it. */
  private async convert(modelOutput: Tensor, sample: Tensor, index: number): Promise<Tensor> {
    const { prediction_type: type, thresholding, variance_type: variance } = this.settings;
    const { alpha, sigma: scaledSigma } = this.level(index);
    const sigma = type === "flow_prediction" ? this.sigmas[index]! : scaledSigma;
    return withTemporaries(async (own) => {
      // Models with a learned variance output three channels of noise first.
      const learned = variance === "learned" || variance === "learned_range";
      const output = learned && type === "epsilon" ? await own(modelOutput.slice(1, 0, 3)) : modelOutput;
      this.requireSameShape(output, sample);
      const dtype = sample.dtype === "float64" || !thresholding ? sample.dtype : "float32";
      const compute = (expression: Expression) => evaluate(expression, dtype, this.className);
      // (x − σ·ε) / α with two roundings, like diffusers: the difference affects the threshold's quantile.
      const originalOf = async (epsilon: Tensor) => (await own(compute(noiseless(sigma, sample, epsilon)))).div(alpha);
      if (this.predictsOriginal || type === "flow_prediction") {
        if (!thresholding) return compute(originalFrom(type, alpha, sigma, sample, output));
        const original =
          type === "epsilon" ? originalOf(output) : compute(originalFrom(type, alpha, sigma, sample, output));
        return dynamicThreshold(await own(original), this.settings);
      }
      const epsilon = await compute(noiseFrom(type, alpha, sigma, sample, output));
      if (!thresholding) return epsilon;
      const original = await own(originalOf(await own(Promise.resolve(epsilon))));
      const bounded = await own(dynamicThreshold(original, this.settings));
      return evaluate(noiseGiven([[1, bounded]], alpha, sigma, sample), sample.dtype, this.className);
    });
  }

  /** Number of training timesteps with λ above `lambda_min_clipped`, which keeps the cosine schedule stable. */
  private lastTimestep(): number {
    const clip = f32(this.settings.lambda_min_clipped);
    const lambdas = this.trainingLambdas().reverse();
    const clipped = lambdas.findIndex((lambda) => lambda >= clip);
    const last = this.settings.num_train_timesteps - (clipped < 0 ? lambdas.length : clipped);
    if (last < 1) this.refuse("lambda_min_clipped", "leaves no timestep");
    return last;
  }

  private schedule(count: number, options: SetTimestepsOptions): Schedule {
    const { num_train_timesteps: train, flow_shift: shift } = this.settings;
    const last = this.settings.final_sigmas_type === "zero" ? 0 : this.trainingSigmas[0]!;
    if (this.settings.use_lu_lambdas && this.spread !== "karras") {
      const sigmas = this.luSigmas(count);
      return { sigmas, timesteps: this.rounded(this.timestepsOf(sigmas)), last };
    }
    if (this.spread !== null) {
      const { sigmas, timesteps } = this.spreadSchedule(this.spread, count);
      return { sigmas, timesteps: this.spread === "karras" ? this.rounded(timesteps) : timesteps, last };
    }
    if (this.settings.use_flow_sigmas) {
      const sigmas = flowSigmas(train, count, options.mu === undefined ? shift : Math.exp(options.mu));
      return { sigmas, timesteps: sigmas.map((sigma) => sigma * train), last };
    }
    const timesteps =
      options.timesteps?.map(Math.trunc) ?? solverTimesteps(this.className, this.settings, count, this.lastTimestep());
    return { sigmas: this.sigmasAt(timesteps), timesteps, last };
  }

  /** Equal steps in λ over the training schedule (Lu et al. 2022, section 3.3). */
  private luSigmas(count: number): number[] {
    const logs = logSigmas(this.trainingSigmas);
    const max = logs[logs.length - 1]!;
    const min = logs[0]!;
    return linspace(0, 1, count).map((ramp) => Math.exp(max + ramp * (min - max)));
  }

  /** Whole timesteps, except for the cosine schedule, whose fractions are cut off instead. */
  private rounded(timesteps: readonly number[]): number[] {
    return this.settings.beta_schedule === "squaredcos_cap_v2" ? [...timesteps] : timesteps.map(roundHalfEven);
  }
}

/** Flow-matching noise levels from just below 1, shifted towards noise by `shift`; without the final 0. */
function flowSigmas(train: number, count: number, shift: number): number[] {
  return linspace(1, 1 / train, count + 1)
    .map((alpha) => 1 - alpha)
    .map((sigma) => (shift * sigma) / (1 + (shift - 1) * sigma))
    .reverse()
    .slice(0, -1);
}

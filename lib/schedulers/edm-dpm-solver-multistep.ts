import type { Tensor } from "../core/tensor.js";
import { choice, type SchedulerConfig, type Settings } from "./config.js";
import { DpmSolverRun, dpmSolverKeys } from "./dpm-solver-run.js";
import { EdmScheduler, edmKeys } from "./edm-scheduler.js";
import { retain } from "./expression.js";
import { f32, linspace32 } from "./float32.js";
import { levelOf } from "./level.js";
import {
  checkSetTimesteps,
  checkStepOptions,
  type SetTimestepsOptions,
  type StepOptions,
  type StepOutput,
} from "./options.js";
import { dynamicThreshold } from "./threshold.js";
import { requireStepCount } from "./timesteps.js";

const SCHEMA = {
  ...edmKeys,
  ...dpmSolverKeys,
  algorithm_type: choice(["dpmsolver++", "sde-dpmsolver++"], "dpmsolver++", { deis: "dpmsolver++" }),
};

/**
 * DPM-Solver++ of order 1 to 3 for models with the preconditioning of {@link EdmScheduler}.
 *
 * @example
 * ```js
 * import { EDMDPMSolverMultistepScheduler, Tensor } from "instruct-pix2pix";
 *
 * const scheduler = EDMDPMSolverMultistepScheduler.fromConfig({ sigma_min: 0.002, sigma_max: 80 });
 * scheduler.setTimesteps(10);
 * let sample = await Tensor.randn([1, 4, 8, 8]);
 * for (const timestep of scheduler.timesteps) {
 *   const input = await scheduler.scaleModelInput(sample, timestep);
 *   const output = await input.mul(0.1); // what a model would predict
 *   ({ prevSample: sample } = await scheduler.step(output, timestep, sample));
 * }
 * console.log(sample.shape);
 * ```
 */
export class EDMDPMSolverMultistepScheduler extends EdmScheduler {
  declare protected readonly settings: EdmScheduler["settings"] & Settings<typeof SCHEMA>;
  /** With the predictions of x_0 of the last steps. */
  private readonly run: DpmSolverRun;

  constructor(config: SchedulerConfig = {}) {
    super("EDMDPMSolverMultistepScheduler", SCHEMA, config);
    this.run = new DpmSolverRun(this.settings);
  }

  setTimesteps(numInferenceSteps?: number | null, options: SetTimestepsOptions = {}): void {
    checkSetTimesteps(this.className, numInferenceSteps, options);
    const { num_train_timesteps: train, final_sigmas_type: final, sigma_min: min } = this.settings;
    const count = requireStepCount(this.className, numInferenceSteps, train);
    if (this.settings.algorithm_type === "sde-dpmsolver++" && this.run.reachesThirdOrder(count))
      this.refuse("solver_order", 'is not possible with algorithm_type "sde-dpmsolver++", which has orders 1 and 2');
    this.useLevels(this.spread(count), final === "zero" ? 0 : min);
    this.reset();
    this.numInferenceSteps = count;
  }

  override reset(): void {
    super.reset();
    this.run.reset();
  }

  async step(modelOutput: Tensor, timestep: number, sample: Tensor, options: StepOptions = {}): Promise<StepOutput> {
    checkStepOptions(options);
    this.requireTimestepsSet();
    this.requireSameShape(modelOutput, sample);
    const index = this.currentStep(timestep);
    const prediction = await this.predictOriginal(modelOutput, sample, index);
    const prevSample = await this.run.step({
      ...{ prediction, sample, index, options },
      level: (i) => levelOf(1, this.sigmas[i]!),
      count: this.timesteps.length,
      where: `${this.className} at timestep ${timestep}`,
    });
    this.cursor.advance();
    return options.predOriginalSample ? { prevSample, predOriginalSample: await retain(prediction) } : { prevSample };
  }

  protected spread(count: number): number[] {
    if (this.settings.sigma_schedule === "exponential") return this.exponentialSigmas(count);
    return this.karrasSigmas(Array.from(linspace32(0, 1, count)), f32);
  }

  /** A timestep that is not in the schedule is treated as the last. */
  protected unknownTimestep(_timestep: number): number {
    return this.timesteps.length - 1;
  }

  private async predictOriginal(output: Tensor, sample: Tensor, index: number): Promise<Tensor> {
    const sigma = this.sigmas[index]!;
    if (!this.settings.thresholding) return await this.denoise(sigma, sample, output, sample.dtype);
    using original = await this.denoise(sigma, sample, output, sample.dtype === "float64" ? "float64" : "float32");
    return await dynamicThreshold(original, this.settings);
  }
}

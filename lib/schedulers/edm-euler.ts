import type { Tensor } from "../core/tensor.js";
import { choice, type SchedulerConfig, type Settings } from "./config.js";
import { EdmScheduler, edmKeys } from "./edm-scheduler.js";
import { eulerStep } from "./euler-step.js";
import { linspace } from "./numpy.js";
import {
  checkSetTimesteps,
  checkStepOptions,
  type SetTimestepsOptions,
  type StepOptions,
  type StepOutput,
} from "./options.js";
import { indexOfNearest } from "./step-cursor.js";
import { requireStepCount } from "./timesteps.js";

const SCHEMA = { ...edmKeys, final_sigmas_type: choice(["zero", "sigma_min"], "zero") };

/** A thousand steps over the usual range are a hundred times as far apart. */
const TIMESTEP_TOLERANCE = 2e-5;

/**
 * Euler steps for models with the preconditioning of {@link EdmScheduler}, such as CosXL; see {@link eulerStep}.
 *
 * @example
 * ```js
 * import { EDMEulerScheduler, Tensor } from "instruct-pix2pix";
 *
 * const scheduler = EDMEulerScheduler.fromConfig({ sigma_min: 0.002, sigma_max: 80 });
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
export class EDMEulerScheduler extends EdmScheduler {
  declare protected readonly settings: EdmScheduler["settings"] & Settings<typeof SCHEMA>;

  constructor(config: SchedulerConfig = {}) {
    super("EDMEulerScheduler", SCHEMA, config);
    const { num_train_timesteps: train } = this.settings;
    const sigmas = this.spreadAt(Array.from({ length: train + 1 }, (_, i) => i / train));
    this.useLevels(sigmas, this.last(sigmas));
  }

  setTimesteps(numInferenceSteps?: number | null, options: SetTimestepsOptions = {}): void {
    checkSetTimesteps(this.className, numInferenceSteps, options);
    const count = requireStepCount(this.className, numInferenceSteps, this.settings.num_train_timesteps);
    const sigmas = this.spread(count);
    this.useLevels(sigmas, this.last(sigmas));
    this.reset();
    this.numInferenceSteps = count;
  }

  async step(modelOutput: Tensor, timestep: number, sample: Tensor, options: StepOptions = {}): Promise<StepOutput> {
    checkStepOptions(options);
    this.requireSameShape(modelOutput, sample);
    const index = this.currentStep(timestep);
    const result = await eulerStep({
      ...{ className: this.className, modelOutput, timestep, sample, options },
      levels: [this.sigmas[index]!, this.sigmas[index + 1]!],
      count: this.sigmas.length - 1,
      denoise: (start, raised) => this.denoise(raised, start, modelOutput, "float32"),
    });
    this.cursor.advance();
    return result;
  }

  protected spread(count: number): number[] {
    return this.spreadAt(linspace(0, 1, count));
  }

  protected unknownTimestep(timestep: number): number {
    const index = indexOfNearest(timestep, this.timesteps, TIMESTEP_TOLERANCE);
    return index ?? this.invalid(`timestep ${timestep} is not one of the scheduler's timesteps`);
  }

  /** In float64, unlike the multistep solver's. */
  private spreadAt(ramp: readonly number[]): number[] {
    if (this.settings.sigma_schedule === "exponential") return this.exponentialSigmas(ramp.length);
    return this.karrasSigmas(ramp, (x) => x);
  }

  private last(sigmas: readonly number[]): number {
    return this.settings.final_sigmas_type === "zero" ? 0 : sigmas.at(-1)!;
  }
}

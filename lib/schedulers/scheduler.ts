import { InstructPix2PixError } from "../core/errors.js";
import { handleOf, type Tensor } from "../core/tensor.js";
import { checkFloat } from "../core/tensor-checks.js";
import { createNoiseSchedule, type NoiseScheduleSettings } from "./betas.js";
import { readSettings, refuse, type SchedulerConfig, type Schema } from "./config.js";
import { retain } from "./expression.js";
import type { SetTimestepsOptions, StepOptions, StepOutput } from "./options.js";

export type SchedulerClass<T extends Scheduler = Scheduler> = new (config?: SchedulerConfig) => T;

/**
 * A diffusion sampler: the noise schedule of the forward process, the timesteps to visit, and the update from one to the
 * next. Tensors are computed natively; everything else is plain TypeScript, so a new sampler needs no compiler.
 *
 * A scheduler holds the state of one run; {@link clone} it for overlapping runs. It never disposes tensors passed to
 * it, and the caller owns the tensors it returns.
 *
 * @example
 * ```js
 * import { EulerDiscreteScheduler, Tensor } from "instruct-pix2pix";
 *
 * const scheduler = EulerDiscreteScheduler.fromConfig({ beta_schedule: "scaled_linear" });
 * scheduler.setTimesteps(20);
 * const clean = await Tensor.zeros([1, 4, 8, 8]);
 * const noisy = await scheduler.addNoise(clean, await Tensor.randn([1, 4, 8, 8]), [scheduler.timesteps[0]]);
 * console.log(noisy.shape, scheduler.initNoiseSigma);
 * ```
 */
export abstract class Scheduler {
  /** Name of the class, as `_class_name` in files. */
  readonly className: string;
  /** The given configuration, without defaults, so that another class can be created from it. */
  readonly config: SchedulerConfig;
  /** The timesteps that a run visits, descending; the whole training schedule before `setTimesteps`. */
  timesteps: number[] = [];
  /** Number of steps set by `setTimesteps`, or null before. */
  numInferenceSteps: number | null = null;
  /** Order of the method: 2 if every timestep but one is visited twice. */
  readonly order: number = 1;
  /** β_t, float32, one per training timestep; empty for schedulers whose noise levels do not come from such a schedule. */
  readonly betas: Float32Array;
  /** ᾱ_t = ∏ (1 − β_s), float32, one per training timestep; empty likewise. */
  readonly alphasCumprod: Float32Array;
  protected readonly settings: NoiseScheduleSettings;

  /** @param schedule keys of the noise schedule that the class does not have */
  protected constructor(className: string, schema: Schema, config: SchedulerConfig, schedule: object = {}) {
    const given = givenKeys(className, config);
    const settings = readSettings(className, schema, given);
    for (const [key, value] of Object.entries(settings)) {
      // Another class's value (`solver_type` "bh2") is replaced by this class's equivalent, as in diffusers.
      if (typeof given[key] === "string") given[key] = value;
    }
    if ("_class_name" in given) given._class_name = className;
    this.className = className;
    this.config = Object.freeze(given);
    this.settings = { ...schedule, ...settings } as unknown as NoiseScheduleSettings;
    const trained = "beta_schedule" in schema ? createNoiseSchedule(className, this.settings) : undefined;
    this.betas = trained?.betas ?? new Float32Array();
    this.alphasCumprod = trained?.alphasCumprod ?? new Float32Array();
  }

  /**
   * Makes a scheduler from a configuration — a `scheduler_config.json`, or another scheduler's `config` — with
   * `overrides` on top. Throws `ERR_CONFIG` naming key and value for unsupported settings.
   */
  static fromConfig<C extends SchedulerClass>(
    this: C,
    config: SchedulerConfig = {},
    overrides: SchedulerConfig = {},
  ): InstanceType<C> {
    // biome-ignore lint/complexity/noThisInStatic: `this` is the class that fromConfig was called on
    return new this({ ...givenKeys(this.name, config), ...overrides }) as InstanceType<C>;
  }

  /** @internal The value of a configuration key: as given, else the class's default; undefined if it has neither. */
  setting(key: string): unknown {
    return (this.settings as unknown as Record<string, unknown>)[key] ?? this.config[key];
  }

  /** Standard deviation of the initial noise. */
  get initNoiseSigma(): number {
    return 1;
  }

  /**
   * Sets the timesteps of a run and resets the state. `numInferenceSteps` lies in 1..num_train_timesteps; anything else
   * is `ERR_INVALID_ARGUMENT`.
   */
  abstract setTimesteps(numInferenceSteps?: number | null, options?: SetTimestepsOptions): void;

  /**
   * Start index of the next run among `timesteps`, for runs that skip the first steps. Reset by `setTimesteps`. Schedulers that
   * step by timesteps need none and ignore it.
   */
  setBeginIndex(_index: number): void {}

  /**
   * One step of the sampler.
   * @param modelOutput what the model predicted at `timestep`, shape of `sample`
   * @param timestep an element of `timesteps`
   * @param sample x at `timestep`
   */
  abstract step(modelOutput: Tensor, timestep: number, sample: Tensor, options?: StepOptions): Promise<StepOutput>;

  /**
   * Noises clean samples to the given timesteps, one for each row or one for all.
   * @param original x_0, shape [B, …]
   * @param noise shape of `original`
   */
  abstract addNoise(original: Tensor, noise: Tensor, timesteps: readonly number[]): Promise<Tensor>;

  /** The input that the model expects for x at `timestep`: a new tensor. */
  async scaleModelInput(sample: Tensor, _timestep: number): Promise<Tensor> {
    return retain(sample);
  }

  /** A new scheduler of the same class and configuration, without a run's state. */
  clone(): this {
    return this.with({});
  }

  /** @internal A new scheduler of the same class, with changes to the configuration. */
  with(changes: SchedulerConfig): this {
    return new (this.constructor as SchedulerClass<this>)({ ...this.config, ...changes });
  }

  /** Resets and frees the run's state, but keeps the timesteps. */
  reset(): void {}

  dispose(): void {
    this.reset();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /** Throws `ERR_CONFIG` for the current value of `key`. */
  protected refuse(key: string, reason: string): never {
    return refuse(this.className, key, (this.settings as unknown as Record<string, unknown>)[key], reason);
  }

  protected invalid(message: string): never {
    throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", `${this.className}: ${message}`);
  }

  protected requireTimestepsSet(): void {
    if (this.numInferenceSteps === null) this.invalid("call setTimesteps before step");
  }

  protected requireSameShape(modelOutput: Tensor, sample: Tensor): void {
    handleOf(modelOutput, "modelOutput");
    handleOf(sample, "sample");
    checkFloat("sample", sample.dtype);
    checkFloat("modelOutput", modelOutput.dtype);
    if (modelOutput.shape.join() !== sample.shape.join())
      this.invalid(`the model output's shape [${modelOutput.shape}] is not the sample's [${sample.shape}]`);
  }
}

/** A copy of the given keys. Files written by diffusers may list which of their keys are defaults. */
function givenKeys(className: string, config: unknown): Record<string, unknown> {
  if (typeof config !== "object" || config === null || Array.isArray(config))
    throw new InstructPix2PixError("ERR_CONFIG", `${className}: the configuration is not an object`);
  const { _use_default_values: defaults, ...given } = config as Record<string, unknown>;
  if (Array.isArray(defaults)) for (const key of defaults) delete given[String(key)];
  for (const [key, value] of Object.entries(given)) if (Array.isArray(value)) given[key] = [...value];
  return given;
}

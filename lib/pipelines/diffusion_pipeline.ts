import { inspect } from "node:util";
import {
  checkComponentNames,
  checkComponents,
  givenComponents,
  type PipelineDescription,
  type SettingValue,
  settingValues,
  slotsOf,
} from "../components/description.js";
import { checkNames, type FromPretrainedOptions, type LoadOptions } from "../components/load.js";
import { readPipelineClass } from "../components/pipeline-class.js";
import { saveComponents, savedComponents, savedPipeline } from "../components/save.js";
import { ComponentHold } from "../components/shared.js";
import { describe } from "../core/arguments.js";
import { resolveDevice } from "../core/device.js";
import { InstructPix2PixError, throwIfAborted } from "../core/errors.js";
import { checkKnown, checkOptions, type OptionNames, optionNames } from "../core/known-options.js";
import { Lease } from "../core/lease.js";
import { Semaphore } from "../core/semaphore.js";
import { ModelOffloader } from "../models/offloader.js";
import type { PretrainedModel } from "../models/pretrained.js";
import { UNet2DConditionModel } from "../models/unet_2d_condition.js";
import { DEFAULT_MAX_ROWS, type StepBatchingOptions, setBatching } from "./batching/step-batcher.js";
import { loadParts } from "./load.js";
import { checkCount, refuseArgument } from "./options.js";
import type { OutputType, RunOptions } from "./run-options.js";

const BATCHING_OPTIONS = optionNames<StepBatchingOptions>()({ maxRows: true, onPass: true });

/** Any model of a pipeline. */
export type PipelineModel = PretrainedModel<unknown>;

/** The class of a pipeline that loads from a folder. */
export interface PipelineClass<Components, Pipeline> {
  new (components: Components): Pipeline;
  /** Its name in diffusers, and what it is made of. */
  readonly description: PipelineDescription<Components>;
}

/**
 * The base of all pipelines: their models' placement, and how runs share them.
 *
 * Runs may overlap on one pipeline without affecting each other's results. Components can be replaced; a run uses those
 * present at its start.
 *
 * @example
 * ```js
 * import { DiffusionPipeline } from "instruct-pix2pix";
 *
 * const pipe = await DiffusionPipeline.fromPretrained("./model"); // the class that model_index.json names
 * console.log(String(pipe));
 * pipe.dispose();
 * ```
 */
export abstract class DiffusionPipeline {
  readonly #turns = new Semaphore(1);
  #offloader: ModelOffloader | undefined;
  readonly #hold = new ComponentHold();
  readonly #lease = new Lease("the pipeline", () => this.free());

  /** The models, in the order in which a run needs them. */
  protected abstract readonly models: readonly PipelineModel[];

  /** The names of the options of `run`. */
  protected abstract readonly runOptions: OptionNames<object>;

  /**
   * Loads a folder as diffusers saves it, or a repository of the Hugging Face hub into its cache. A checkpoint folder of
   * `train` is loaded together with the base model that it names. Components given as options are used instead of the
   * folder's.
   *
   * @throws `ERR_LIBTORCH_NOT_FOUND` before anything else, `ERR_FILE_NOT_FOUND`, `ERR_HUB`, `ERR_CONFIG`,
   *   `ERR_SAFETENSORS`, `ERR_STATE_DICT`, `ERR_TOKENIZER`, `ERR_NOT_FINITE`, `ERR_CUDA_UNAVAILABLE`, `ERR_OUT_OF_MEMORY`;
   *  a model of another kind, or with components that do not fit together, is refused before its weights are downloaded
   * or loaded
   */
  static async fromPretrained<Components extends object, Pipeline extends DiffusionPipeline>(
    this: PipelineClass<Components, Pipeline>,
    pathOrId: string,
    options?: LoadOptions<Components>,
  ): Promise<Pipeline>;
  static async fromPretrained(
    this: typeof DiffusionPipeline,
    pathOrId: string,
    options?: FromPretrainedOptions,
  ): Promise<DiffusionPipeline>;
  static async fromPretrained(
    this: typeof DiffusionPipeline | PipelineClass<object, DiffusionPipeline>,
    pathOrId: string,
    options: LoadOptions<object> = {},
  ): Promise<DiffusionPipeline> {
    // biome-ignore lint/complexity/noThisInStatic: `this` is the class that fromPretrained was called on
    return await loadPipeline("description" in this ? this : await classOf(pathOrId, options), pathOrId, options);
  }

  /**
   * A pipeline of this class with another pipeline's components, which both then share: nothing is loaded or copied, and a
   * component is freed with the last pipeline that holds it.
   *
   * @param components used instead of the other pipeline's
   * @throws `ERR_CONFIG` if components are missing or do not fit together, `ERR_DISPOSED`
   */
  static fromPipe<Components extends object, Pipeline extends DiffusionPipeline>(
    this: PipelineClass<Components, Pipeline>,
    pipe: DiffusionPipeline,
    components: Partial<Components> = {},
  ): Pipeline {
    // biome-ignore lint/complexity/noThisInStatic: `this` is the class that fromPipe was called on
    return sharePipeline(this, pipe, components);
  }

  /** The class's name in diffusers. */
  get className(): string {
    return (this.constructor as unknown as PipelineClass<object, this>).description.className;
  }

  /** The components by their names, as the constructor takes them. */
  get components(): Record<string, unknown> {
    const { description } = this.constructor as unknown as PipelineClass<object, this>;
    return Object.fromEntries(
      slotsOf<object>(description).map(([name]) => [name, (this as Record<string, unknown>)[String(name)]]),
    );
  }

  /** The settings by their names, as the constructor takes them beside the components. */
  get settings(): Record<string, SettingValue> {
    const { description } = this.constructor as unknown as PipelineClass<object, this>;
    return settingValues<object>(description, this);
  }

  /** A setting among the parts that the constructor got. */
  protected settingOf<Parts extends object, Name extends keyof Parts & string>(
    parts: Parts,
    name: Name,
  ): NonNullable<Parts[Name]> | Extract<Parts[Name], null> {
    const { description } = this.constructor as unknown as PipelineClass<object, this>;
    return settingValues<object>(description, parts)[name] as NonNullable<Parts[Name]>;
  }

  /** One line, which `console.log` shows: the class, and each component that it has, with its type and device. */
  toString(): string {
    const name = this.constructor.name;
    if (this.disposed) return `${name} (disposed)`;
    const parts = Object.entries(this.components)
      .filter(([, value]) => value !== null && value !== undefined)
      .map(([part, value]) => `${part}: ${shown(value)}`);
    return `${name} { ${parts.join(", ")} }`;
  }

  [inspect.custom](): string {
    return this.toString();
  }

  /** @internal Offloads as another pipeline does, whose models it shares. */
  offloadLike(pipe: DiffusionPipeline): void {
    this.#offloader = pipe.#offloader;
  }

  /** @internal Keeps the pipeline alive. @throws `ERR_DISPOSED` */
  lease(): Disposable {
    return this.#lease.hold();
  }

  /**
   * Writes a folder that diffusers loads as the class of this pipeline: `model_index.json`, and every component with its
   * configuration, weights in the types they are loaded in. What was there is kept until the new folder is entirely on the
   * disk; files of other names stay.
   *
   * @throws `ERR_IO`, with nothing unfinished left behind; `ERR_INVALID_ARGUMENT` for a quantized model, or a component of a
   *   class that cannot be saved; `ERR_DISPOSED`
   */
  async savePretrained(folder: string): Promise<void> {
    if (typeof folder !== "string" || folder === "") refuseArgument("folder", describe(folder), "the path of a folder");
    using _held = this.#lease.hold();
    const { description } = this.constructor as unknown as PipelineClass<object, this>;
    await saveComponents(folder, savedPipeline(description, savedComponents(description, this), this));
  }

  /** Holds the components that the pipeline has now, so that other pipelines can share them. */
  protected hold(): void {
    this.#hold.update(this.models);
  }

  /** Frees everything that no other pipeline holds. */
  protected free(): void {
    this.hold();
    this.#hold.dispose();
  }

  /**
   * Keeps the models in host memory, and each on a device only while it computes. The device only has to hold the
   * largest model; moving them takes time in every run. Runs are serialised. Components set later are moved as well.
   * Must not be called during a run.
   *
   * @param device "cuda" or "cuda:N"; "auto", the default, is the first CUDA device, or the CPU if there is none, where
   * nothing moves
   * @throws `ERR_CUDA_UNAVAILABLE`
   */
  async enableModelCpuOffload(device = "auto"): Promise<void> {
    const target = resolveDevice(device);
    await this.#turns.run(async () => {
      this.#offloader = undefined;
      await this.#place("cpu");
      this.#offloader = new ModelOffloader(target);
    });
  }

  /**
   * Computes the steps of runs that overlap in common passes through the UNet, though each run is at a timestep of its own:
   * runs of the same latent size and type join and leave between steps. Each gets the images that it gets alone, in float32
   * within 1e-5 of the range of pixels (the ×4 upscaler: 3e-5), because a batch is computed with other roundings. Pipelines
   * that share the UNet take part. Passes have no more rows than memory holds by the estimate that also refuses images. Runs
   * with `deepCacheInterval` are computed one by one, as are the priors of Kandinsky 2.2.
   *
   * @throws `ERR_INVALID_ARGUMENT` for unknown options, and a pipeline without UNet
   */
  enableStepBatching(options?: StepBatchingOptions): void {
    const { maxRows = DEFAULT_MAX_ROWS, onPass = () => {} } = checkOptions(options, BATCHING_OPTIONS);
    checkCount("maxRows", maxRows);
    for (const unet of this.#unets()) setBatching(unet, { maxRows, onPass });
  }

  /** Computes runs one by one again. */
  disableStepBatching(): void {
    for (const unet of this.#unets()) setBatching(unet, undefined);
  }

  #unets(): UNet2DConditionModel[] {
    const unets = this.models.filter((model) => model instanceof UNet2DConditionModel);
    if (unets.length > 0) return unets;
    throw new InstructPix2PixError(
      "ERR_INVALID_ARGUMENT",
      `a ${this.className} has no UNet whose steps could be batched`,
    );
  }

  /**
   * Moves all models to a device, where they stay. Must not be called during a run.
   *
   * @param device "cpu", "cuda" or "cuda:N", or "auto"
   * @throws as `PretrainedModel.to`
   */
  async to(device: string): Promise<this> {
    const target = resolveDevice(device);
    await this.#turns.run(async () => {
      this.#offloader = undefined;
      await this.#place(target);
    });
    return this;
  }

  /**
   * Frees the weights after the current runs have finished; later runs throw `ERR_DISPOSED`. Components that another
   * pipeline holds are freed with that one, and those given to `fromPretrained` by whoever loaded them.
   */
  dispose(): void {
    this.#lease.dispose();
  }

  get disposed(): boolean {
    return this.#lease.disposed;
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /**
   * A run: keeps the pipeline alive, validates the call before anything is computed, and gives offloaded models their
   * turns.
   *
   * @param check validates; `device` is where the run computes
   */
  protected async running<Call, Result>(
    options: RunOptions<OutputType>,
    check: (device: string) => Call,
    work: (call: Call) => Promise<Result>,
  ): Promise<Result> {
    if (typeof options !== "object" || options === null) refuseArgument("options", describe(options), "an object");
    checkKnown(options, this.runOptions);
    throwIfAborted(options.signal);
    using _held = this.#lease.hold();
    const models = this.models;
    const offloader = this.#offloader;
    const call = check(offloader?.device ?? models.at(-1)!.device);
    using _runs = runOf(models);
    if (!offloader) return await work(call);
    // Concurrent runs would evict each other's models at every step.
    return await this.#turns.run(async () => {
      for (const model of models) model.offloadBy(offloader);
      try {
        return await work(call);
      } finally {
        await offloader.release();
      }
    });
  }

  async #place(device: string): Promise<void> {
    for (const model of this.models) {
      model.offloadBy(undefined);
      await model.to(device);
    }
  }
}

/** Marks a run on all these models. */
function runOf(models: readonly PipelineModel[]): Disposable {
  const runs = models.map(({ weightGuard }) => weightGuard.run());
  return {
    [Symbol.dispose]: () => {
      for (const run of runs) run[Symbol.dispose]();
    },
  };
}

function shown(component: unknown): string {
  if (Array.isArray(component)) return `[${component.map(shown).join(", ")}]`;
  if (typeof component !== "object" || component === null) return String(component);
  const { dtype, device } = component as Partial<PipelineModel>;
  return `${component.constructor.name}${dtype === undefined ? "" : ` ${dtype} on ${device}`}`;
}

/** The class that a folder or repository names. Its registry is imported late, since every pipeline extends this base. */
async function classOf(
  pathOrId: string,
  options: FromPretrainedOptions,
): Promise<PipelineClass<object, DiffusionPipeline>> {
  const { anyComponentNames, pipelineFromClassName } = await import("./registry.js");
  checkNames(anyComponentNames(), options);
  return pipelineFromClassName(await readPipelineClass(pathOrId, options));
}

/** A pipeline of a class, loaded. */
export async function loadPipeline<Components extends object, Pipeline>(
  pipeline: PipelineClass<Components, Pipeline>,
  pathOrId: string,
  options?: LoadOptions<Components>,
): Promise<Pipeline> {
  const { description } = pipeline;
  const components = description.load
    ? await description.load(pathOrId, options)
    : await loadParts(description, pathOrId, options);
  return new pipeline(components);
}

/** A pipeline of a class that shares another's components. */
export function sharePipeline<Components extends object, Pipeline extends DiffusionPipeline>(
  pipeline: PipelineClass<Components, Pipeline>,
  pipe: DiffusionPipeline,
  components: Partial<Components>,
): Pipeline {
  const { description } = pipeline;
  checkComponentNames(description, components);
  using _held = pipe.lease();
  const given = givenComponents(description, { ...pipe.settings, ...pipe.components, ...components });
  checkComponents(description, given);
  const shared = new pipeline(given as Components);
  shared.offloadLike(pipe);
  return shared;
}

import { join } from "node:path";
import { describe } from "../core/arguments.js";
import { resolveDevice } from "../core/device.js";
import { type DTypeOption, resolveDType } from "../core/dtype.js";
import { InstructPix2PixError, isInstructPix2PixError } from "../core/errors.js";
import type { Generator } from "../core/generator.js";
import { checkKnown, checkOptions, type OptionNames, optionNames } from "../core/known-options.js";
import { quote } from "../core/quote.js";
import { Scope } from "../core/scope.js";
import { type ModelDType, Tensor } from "../core/tensor.js";
import { readConfig } from "../files/config.js";
import { ioError } from "../files/io-error.js";
import type { AttentionBackend, NativeModel, Quantization, TensorView } from "../runtime/contract/index.js";
import { cancellable, native } from "../runtime/native.js";
import { MODEL_CONFIG, type ModelFormat, weightBaseName } from "./format.js";
import type { ModelOffloader } from "./offloader.js";
import { writeModel } from "./save.js";
import type { JsonObject } from "./schema.js";
import { WeightGuard } from "./weight-guard.js";
import { resolveWeights } from "./weights.js";

/** Options of loading a model from a folder. */
export interface ModelOptions {
  /** Type of the weights and of all arithmetic; see {@link DTypeOption} for "auto". Default "float32". */
  dtype?: DTypeOption;
  /** "cpu", "cuda" or "cuda:N". Default "cpu". */
  device?: string;
  /** Reads `*.VARIANT.safetensors`, e.g. "fp16". */
  variant?: string;
  /** "auto" (default) never materialises attention scores; "math" does and is meant for comparisons. */
  attention?: AttentionBackend;
  /** Loads weights that hold NaN or infinity, which by default are an error, since they give black images. */
  allowNonFinite?: boolean;
  /** @internal For a caller without this option: errors do not suggest it. Default true. */
  suggestAllowNonFinite?: boolean;
  signal?: AbortSignal;
}

/** Options of models with 8-bit quantization. */
export interface QuantizationOptions {
  /**
   * "int8" quantizes weights and activations of most layers to 8 bits: faster, with less memory, and not exact. On the
   * CPU only, in float32 or bfloat16, for inference only: such a model cannot be saved or trained. Default "none".
   */
  quantization?: Quantization;
}

/** The names of {@link ModelOptions}. */
export const MODEL_OPTIONS = optionNames<ModelOptions>()({
  dtype: true,
  device: true,
  variant: true,
  attention: true,
  allowNonFinite: true,
  suggestAllowNonFinite: false,
  signal: true,
});

/** The names of {@link QuantizationOptions}. */
export const QUANTIZATION_OPTIONS = optionNames<QuantizationOptions>()({ quantization: true });

/** The names of the options of models that can be quantized. */
export const QUANTIZABLE_OPTIONS = optionNames<ModelOptions & QuantizationOptions>()({
  ...MODEL_OPTIONS,
  ...QUANTIZATION_OPTIONS,
});

const SAVE_OPTIONS = optionNames<{ dtype?: ModelDType }>()({ dtype: true });

/** A model: its configuration and the native module tree with its weights. */
export abstract class PretrainedModel<Config> {
  readonly dtype: ModelDType;
  /** The quantization applied when the weights were loaded. */
  readonly quantization: Quantization;
  /** @internal How the model is stored. */
  readonly format: ModelFormat;
  readonly #handle: NativeModel;
  #config: Readonly<Config>;
  #device: string;
  #offloader: ModelOffloader | undefined;
  /** The last requested move, until it is done. */
  #moving: Promise<unknown> | undefined;
  #weightsMayChange = false;
  /** @internal Keeps changes of the weights by adapters apart from runs. */
  readonly weightGuard = new WeightGuard();

  /** @internal */
  constructor(parts: LoadedModel<Config>) {
    this.format = parts.format;
    this.#config = parts.config;
    this.#device = parts.device;
    this.dtype = parts.dtype;
    this.quantization = parts.quantization;
    this.#handle = parts.handle;
  }

  /** The configuration, defaults filled in. */
  get config(): Readonly<Config> {
    return this.#config;
  }

  /** @internal Changes values that the native model does not know. */
  reconfigure(changes: Partial<Config>): void {
    this.#config = { ...this.#config, ...changes };
  }

  /** Where the weights are: "cpu" or "cuda:N". */
  get device(): string {
    return this.#device;
  }

  /**
   * Moves the weights to another device; tensors returned by {@link stateDict} stay where they are. Earlier calls run
   * on the old device; later calls wait and run on the new one. If memory runs out, the model stays on the old device.
   *
   * @param device "cpu", "cuda" or "cuda:N", or "auto"
   * @returns the model itself
   * @throws `ERR_CUDA_UNAVAILABLE`, `ERR_OUT_OF_MEMORY`, `ERR_DISPOSED`, `ERR_INVALID_ARGUMENT` for a model in training, or a
   *   quantized one
   */
  async to(device: string): Promise<this> {
    const target = resolveDevice(device);
    checkQuantization(this.quantization, this.dtype, target);
    const before = this.#moving;
    const move = (async () => {
      await before?.catch(() => {});
      await this.weightGuard.settled();
      if (target === this.#device) return;
      await native().moveModel(this.#handle, target);
      this.#device = target;
    })();
    this.#moving = move;
    try {
      await move;
    } finally {
      if (this.#moving === move) this.#moving = undefined;
    }
    return this;
  }

  /** @internal Resolves when no move is in progress, so that work is queued on the right device. */
  async settled(): Promise<void> {
    while (this.#moving || this.weightGuard.changing) {
      await this.#moving?.catch(() => {});
      await this.weightGuard.settled();
    }
  }

  /** @internal Sets the offloader that decides where the model computes; without one it computes where its weights are. */
  offloadBy(offloader: ModelOffloader | undefined): void {
    this.#offloader = offloader;
  }

  /** Runs a computation once the weights are on the right device. */
  protected computing<T>(work: () => Promise<T>): Promise<T> {
    const whereItIs = async () => {
      if (this.#moving || this.weightGuard.changing) await this.settled();
      return await work();
    };
    return this.#offloader ? this.#offloader.use(this, whereItIs) : whereItIs();
  }

  /** @internal The addon's handle. */
  get handle(): NativeModel {
    return this.#handle;
  }

  /** @internal Whether the weights may change (stateDict() was called, or they are trained), so that derived results must not be cached. */
  get weightsMayChange(): boolean {
    return this.#weightsMayChange;
  }

  /** @internal */
  expectChanges(): void {
    this.#weightsMayChange = true;
  }

  /**
   * The parameters by their names in diffusers' state dict: the tensors themselves, not copies.
   *
   * @throws `ERR_INVALID_ARGUMENT` if the model is quantized
   */
  async stateDict(): Promise<Record<string, Tensor>> {
    this.checkExact();
    this.#weightsMayChange = true;
    return await this.parameters();
  }

  /** @internal @throws `ERR_INVALID_ARGUMENT` if the model is quantized */
  checkExact(): void {
    if (this.quantization !== "none")
      throw new InstructPix2PixError(
        "ERR_INVALID_ARGUMENT",
        `with quantization "${this.quantization}" a model does not keep its original weights: load it without`,
      );
  }

  /** @internal As {@link stateDict}, for reading only. */
  async parameters(): Promise<Record<string, Tensor>> {
    await this.settled();
    const result: Record<string, Tensor> = Object.create(null);
    for (const [name, handle] of Object.entries(await native().modelStateDict(this.#handle)))
      result[name] = new Tensor(handle);
    return result;
  }

  /**
   * Writes `config.json` and safetensors, as diffusers and transformers read them; the folder is created if necessary.
   *
   * @param options.dtype type of the weights in the file; default the model's own
   * @throws `ERR_IO`, `ERR_INVALID_ARGUMENT` if the model is quantized, or if it has adapters that are not fused
   */
  async savePretrained(folder: string, options?: { dtype?: ModelDType }): Promise<void> {
    const { dtype = this.dtype } = checkOptions(options, SAVE_OPTIONS);
    this.checkExact();
    if (this.weightGuard.unfused.length > 0)
      throw new InstructPix2PixError(
        "ERR_INVALID_ARGUMENT",
        `the adapters ${this.weightGuard.unfused.map(quote).join(", ")} are no part of the model's weights: call fuseLora() to save them with it, or disableLora() to save it without`,
      );
    using scope = new Scope();
    const weights: Record<string, Tensor> = {};
    for (const [name, tensor] of Object.entries(await this.parameters()))
      weights[name] = scope.add(await scope.add(tensor).to({ dtype }));
    try {
      await writeModel(folder, this.format, { ...this.config }, weights);
    } catch (error) {
      throw ioError("save the model in", folder, error);
    }
  }

  get disposed(): boolean {
    return this.#handle.disposed;
  }

  /** Frees the weights as soon as no queued job needs them. */
  dispose(): void {
    this.#handle.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

export interface LoadedModel<Config> {
  format: ModelFormat;
  config: Config;
  device: string;
  dtype: ModelDType;
  quantization: Quantization;
  handle: NativeModel;
}

/** What is needed to load a model class from a folder. */
export interface ModelDescription<Config> extends ModelFormat {
  /** Checks config.json and fills in defaults; `where` is its path. */
  parse: (config: JsonObject, where: string) => Config;
  /** The native model's configuration. */
  toNative: (config: Config, where: string) => object;
}

const QUANTIZATIONS: readonly Quantization[] = ["none", "int8"];

/** Where a model comes from, once its configuration is known. */
export interface ModelSource<Config> {
  config: Config;
  /** What the configuration was read from, for messages. */
  where: string;
  /** Its safetensors files. */
  files: readonly string[];
  /** Which tensors of the one file are the parameters, if the names in the file are not the model's own. */
  views: readonly TensorView[] | null;
}

/**
 * Loads a folder with config.json and safetensors.
 *
 * @param known the names of the options that the class has
 */
export async function loadPretrained<Config>(
  description: ModelDescription<Config>,
  folder: string,
  options: ModelOptions & QuantizationOptions,
  known: OptionNames<object> = MODEL_OPTIONS,
): Promise<LoadedModel<Config>> {
  checkKnown(options, known);
  return loadModel(description, options, async () => {
    const { config, where } = await readModelConfig(description, folder);
    const { files } = await resolveWeights(folder, {
      variant: options.variant,
      baseName: weightBaseName(description.library),
    });
    return { config, where, files, views: null };
  });
}

/** Loads a model from where `find` finds it, after a look at the options. */
export async function loadModel<Config>(
  description: ModelDescription<Config>,
  options: Omit<ModelOptions, "variant"> & QuantizationOptions,
  find: () => Promise<ModelSource<Config>>,
): Promise<LoadedModel<Config>> {
  const { device = "cpu", attention = "auto", quantization = "none", signal } = options;
  const { allowNonFinite = false, suggestAllowNonFinite = true } = options;
  const dtype = resolveDType(options.dtype ?? "float32", device);
  checkQuantization(quantization, dtype, device);
  const addon = native(); // a missing libtorch is reported before anything else is looked at
  const { config, where, files, views } = await find();
  const nativeConfig = description.toNative(config, where);
  const handle = await namingConfig(
    where,
    cancellable(signal, (token) =>
      addon.loadModel(
        description.kind,
        nativeConfig,
        files,
        { dtype, device, attention, quantization, allowNonFinite, views },
        token,
      ),
    ),
  ).catch((error: unknown) => {
    if (!suggestAllowNonFinite || !isInstructPix2PixError(error, "ERR_NOT_FINITE")) throw error;
    throw new InstructPix2PixError(error.code, `${error.message}; pass allowNonFinite to load it anyway`);
  });
  return { format: description, config, device, dtype, quantization, handle };
}

/** Puts the configuration's place in front of what the addon finds wrong with it. */
async function namingConfig<T>(where: string, made: Promise<T>): Promise<T> {
  try {
    return await made;
  } catch (error) {
    if (!isInstructPix2PixError(error, "ERR_CONFIG")) throw error;
    throw new InstructPix2PixError("ERR_CONFIG", `${where}: ${error.message}`, { cause: error });
  }
}

/** A model folder's checked config.json, and its path. */
export async function readModelConfig<Config>(
  { parse }: Pick<ModelDescription<Config>, "parse">,
  folder: string,
): Promise<{ config: Config; where: string }> {
  const where = join(folder, MODEL_CONFIG);
  return { config: parse(await readConfig(where), where), where };
}

/** @throws `ERR_INVALID_ARGUMENT` for an unknown one, or one not supported with this type or device */
export function checkQuantization(quantization: Quantization, dtype: ModelDType, device: string): void {
  const refuse = (problem: string) => new InstructPix2PixError("ERR_INVALID_ARGUMENT", problem);
  if (!QUANTIZATIONS.includes(quantization))
    throw refuse(`quantization must be one of ${QUANTIZATIONS.join(", ")}, not ${describe(quantization)}`);
  if (quantization === "none") return;
  if (device !== "cpu")
    throw refuse(`quantization "${quantization}" computes on the CPU only, not on ${device}: give the device "cpu"`);
  if (dtype === "float16")
    throw refuse(`quantization "${quantization}" computes beside float32 or bfloat16, not with dtype float16`);
}

export interface NewModelOptions extends Pick<ModelOptions, "device" | "attention"> {
  /** A CPU generator for the initial weights. Default: libtorch's default generator, which is seeded randomly. */
  generator?: Generator;
}

const NEW_MODEL_OPTIONS = optionNames<NewModelOptions>()({ device: true, attention: true, generator: true });

/** Creates a model with random float32 weights. */
export async function createModel<Config>(
  description: ModelDescription<Config>,
  given: object,
  options: NewModelOptions,
): Promise<LoadedModel<Config>> {
  const { device = "cpu", attention = "auto", generator } = checkOptions(options, NEW_MODEL_OPTIONS);
  const where = "the configuration";
  const config = description.parse(given as JsonObject, where);
  const handle = await namingConfig(
    where,
    native().createModel(
      description.kind,
      description.toNative(config, where),
      { device, attention },
      generator?.handle ?? null,
    ),
  );
  return { format: description, config, device, dtype: "float32", quantization: "none", handle };
}

import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { CLIPImageProcessor } from "../conditioning/clip_image_processor.js";
import { toJson } from "../files/json.js";
import { AutoencoderKL } from "../models/autoencoder_kl.js";
import { CLIPTextModel } from "../models/clip_text_model.js";
import { CLIPTextModelWithProjection } from "../models/clip_text_model_with_projection.js";
import { CLIPVisionModelWithProjection } from "../models/clip_vision_model_with_projection.js";
import { ControlNetModel } from "../models/controlnet.js";
import type { ModelFormat } from "../models/format.js";
import {
  type ModelDescription,
  type ModelOptions,
  type PretrainedModel,
  type QuantizationOptions,
  readModelConfig,
} from "../models/pretrained.js";
import { PriorTransformer } from "../models/prior_transformer.js";
import { StableDiffusionSafetyChecker } from "../models/safety_checker.js";
import { DIFFUSERS_VERSION } from "../models/save.js";
import { UNet2DConditionModel } from "../models/unet_2d_condition.js";
import { VQModel } from "../models/vq_model.js";
import type { ModelKind } from "../runtime/contract/index.js";
import { loadScheduler, SCHEDULER_CONFIG, SCHEDULER_NAMES, type SchedulerName } from "../schedulers/registry.js";
import { Scheduler } from "../schedulers/scheduler.js";
import type { SingleFile } from "../single-file/file.js";
import type { ComponentName } from "../single-file/layout.js";
import {
  type SingleFileModelOptions,
  type SingleFileSource,
  type SingleFileTables,
  singleFileSource,
} from "../single-file/model.js";
import { CLIPTokenizer } from "../tokenizer/clip_tokenizer.js";
import { type ComponentFiles, filesOf } from "./files.js";

// The one place that knows the classes of pipelines' components: how each is stored, checked, loaded and saved.

interface Storage<T> {
  /** As in `model_index.json`. */
  readonly className: string;
  /** Likewise: a Python package, or a module of diffusers' pipelines. */
  readonly library: string;
  /** Whether a value is a component of this class that a pipeline can use. */
  is(value: unknown): value is T;
  /** Writes the component's folder. @throws `ERR_IO` */
  save(folder: string, component: T): Promise<void>;
}

/** A class with weights. */
export interface ModelClass<T extends PretrainedModel<unknown> = PretrainedModel<unknown>> extends Storage<T> {
  readonly files: ComponentFiles & { kind: "model" };
  /** The checked configuration in a folder, without weights. @throws `ERR_CONFIG`, `ERR_FILE_NOT_FOUND`, `ERR_IO` */
  readConfig(folder: string): Promise<T["config"]>;
  load(folder: string, options: ModelOptions & QuantizationOptions): Promise<T>;
  /** As in a single file of the original layout; undefined for classes that are not read from there. */
  readonly inSingleFile: InSingleFile<T> | undefined;
}

/** How a class is read from its part of a single file. */
export interface InSingleFile<T extends PretrainedModel<unknown> = PretrainedModel<unknown>> {
  readonly component: ComponentName;
  /**
   * Its configuration and tensors, without reading weights.
   *
   * @param folder of configurations; without one they are inferred
   */
  check(file: SingleFile, folder: string | undefined): Promise<SingleFileSource<T["config"]>>;
  load(path: string, options: SingleFileModelOptions & QuantizationOptions): Promise<T>;
}

/** A class without weights, which is loaded whole where others' configurations are read. */
export interface LightClass<T = unknown> extends Storage<T> {
  readonly files: ComponentFiles & { kind: "scheduler" | "tokenizer" | "processor" };
  load(folder: string): Promise<T>;
}

export type RegisteredClass = ModelClass | LightClass;

interface ModelConstructor<T extends PretrainedModel<unknown>> {
  readonly description: ModelDescription<T["config"]>;
  /** The tables of a class that single files hold; goes with `fromSingleFile`. */
  readonly singleFile?: SingleFileTables<T["config"]>;
  fromPretrained(folder: string, options: ModelOptions & QuantizationOptions): Promise<T>;
  fromSingleFile?(file: string, options: SingleFileModelOptions & QuantizationOptions): Promise<T>;
}

function model<T extends PretrainedModel<unknown>>(Model: ModelConstructor<T>): ModelClass {
  const { kind, library, module = library }: ModelFormat = Model.description;
  const storage: ModelClass<T> = {
    className: kind,
    library: module,
    files: filesOf({ library: module, className: kind }) as ModelClass["files"],
    // A model with a projection is a subclass of the one without, but another component.
    is: (value): value is T =>
      value instanceof (Model as unknown as new () => T) &&
      (value.constructor as Partial<ModelConstructor<T>>).description === Model.description,
    readConfig: async (folder) => (await readModelConfig(Model.description, folder)).config,
    load: (folder, options) => Model.fromPretrained(folder, options),
    save: (folder, component) => component.savePretrained(folder),
    inSingleFile: inSingleFile(Model),
  };
  return storage as unknown as ModelClass;
}

function inSingleFile<T extends PretrainedModel<unknown>>(Model: ModelConstructor<T>): InSingleFile<T> | undefined {
  const tables = Model.singleFile;
  // A subclass inherits these, but has other weights.
  if (tables === undefined || !Object.hasOwn(Model, "singleFile")) return undefined;
  return {
    component: tables.component,
    check: (file, folder) => singleFileSource(Model.description, tables, file, folder),
    load: (path, options) => Model.fromSingleFile!(path, options),
  };
}

function tokenizer(className: string): LightClass {
  const storage: LightClass<CLIPTokenizer> = {
    className,
    library: "transformers",
    files: filesOf({ library: "transformers", className }) as LightClass["files"],
    is: (value) => value instanceof CLIPTokenizer,
    load: (folder) => CLIPTokenizer.fromPretrained(folder),
    save: (folder, component) => component.savePretrained(folder),
  };
  return storage as LightClass;
}

function imageProcessor(className: string): LightClass {
  const storage: LightClass<CLIPImageProcessor> = {
    className,
    library: "transformers",
    files: filesOf({ library: "transformers", className }) as LightClass["files"],
    is: (value) => value instanceof CLIPImageProcessor,
    load: (folder) => CLIPImageProcessor.fromPretrained(folder),
    save: (folder, component) => component.savePretrained(folder),
  };
  return storage as LightClass;
}

function scheduler(className: SchedulerName): LightClass {
  const storage: LightClass<Scheduler> = {
    className,
    library: "diffusers",
    files: filesOf({ library: "diffusers", className }) as LightClass["files"],
    is: (value) => value instanceof Scheduler, // one that is not in the registry computes as well
    load: (folder) => loadScheduler(folder, className),
    save: saveScheduler,
  };
  return storage as LightClass;
}

const MODELS = {
  AutoencoderKL: model(AutoencoderKL),
  CLIPTextModel: model(CLIPTextModel),
  CLIPTextModelWithProjection: model(CLIPTextModelWithProjection),
  CLIPVisionModelWithProjection: model(CLIPVisionModelWithProjection),
  ControlNetModel: model(ControlNetModel),
  PriorTransformer: model(PriorTransformer),
  StableDiffusionSafetyChecker: model(StableDiffusionSafetyChecker),
  UNet2DConditionModel: model(UNet2DConditionModel),
  VQModel: model(VQModel),
} satisfies Record<ModelKind, ModelClass>;

const TOKENIZERS = {
  CLIPTokenizer: tokenizer("CLIPTokenizer"),
  CLIPTokenizerFast: tokenizer("CLIPTokenizerFast"),
};

/** Under the names that versions of transformers write. */
const IMAGE_PROCESSORS = {
  CLIPImageProcessor: imageProcessor("CLIPImageProcessor"),
  CLIPImageProcessorPil: imageProcessor("CLIPImageProcessorPil"),
  CLIPImageProcessorFast: imageProcessor("CLIPImageProcessorFast"),
  CLIPFeatureExtractor: imageProcessor("CLIPFeatureExtractor"),
};

const SCHEDULERS = Object.fromEntries(SCHEDULER_NAMES.map((name) => [name, scheduler(name)])) as Record<
  SchedulerName,
  LightClass
>;

const CLASSES = { ...MODELS, ...TOKENIZERS, ...IMAGE_PROCESSORS, ...SCHEDULERS };

/** A class of components that can be loaded, as `model_index.json` names it. */
export type ComponentClassName = keyof typeof CLASSES;

export function registeredClass(className: ComponentClassName): RegisteredClass {
  return CLASSES[className];
}

/** Whether components of this class can be loaded. */
function isRegistered(className: string): className is ComponentClassName {
  return Object.hasOwn(CLASSES, className);
}

/** The class of a loaded component; undefined for anything else. */
export function classOf(component: unknown): RegisteredClass | undefined {
  if (component instanceof Scheduler)
    return isRegistered(component.className) ? CLASSES[component.className] : undefined;
  return Object.values(CLASSES).find((entry) => entry.is(component));
}

/** `scheduler_config.json` as diffusers writes it. Errors of the file system pass through. */
async function saveScheduler(folder: string, { className, config }: Scheduler): Promise<void> {
  await mkdir(folder, { recursive: true });
  const named = { ...config, _class_name: className, _diffusers_version: DIFFUSERS_VERSION };
  const sorted = Object.fromEntries(Object.entries(named).sort(([a], [b]) => (a < b ? -1 : 1)));
  await writeFile(join(folder, SCHEDULER_CONFIG), `${toJson(sorted, 2)}\n`);
}

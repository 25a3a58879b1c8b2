import { join } from "node:path";
import {
  configOf,
  givenComponents,
  type PipelineConfigs,
  type PipelineDescription,
  type SettingValue,
  settingIn,
  settingsOf,
  slotsOf,
} from "../components/description.js";
import type { GivenComponents } from "../components/load.js";
import { componentClass, MODEL_INDEX, type ModelIndex, readModelIndex } from "../components/model-index.js";
import { type InSingleFile, type ModelClass, registeredClass } from "../components/registry.js";
import { describe } from "../core/arguments.js";
import { InstructPix2PixError, isInstructPix2PixError } from "../core/errors.js";
import { readConfig } from "../files/config.js";
import { isFile } from "../files/is-file.js";
import type { AutoencoderKL } from "../models/autoencoder_kl.js";
import type { JsonObject } from "../models/schema.js";
import type { UNet2DConditionModel } from "../models/unet_2d_condition.js";
import { SCHEDULER_CONFIG, SCHEDULER_NAMES, schedulerFromClassName } from "../schedulers/registry.js";
import type { Scheduler } from "../schedulers/scheduler.js";
import { builtInTokenizer } from "../tokenizer/built-in.js";
import { CLIPTokenizer } from "../tokenizer/clip_tokenizer.js";
import { componentOf, openSingleFile, type SingleFile } from "./file.js";
import { type ComponentName, isXLFamily } from "./layout.js";
import { resolveConfigFolder, type SingleFileConfigOptions } from "./model.js";
import { defaultScheduler } from "./scheduler.js";

/** Options for what a single file does not say about a pipeline. */
export interface SingleFilePipelineOptions extends SingleFileConfigOptions {
  /**
   * What the UNet predicts, which a file does not say. Default that of `config`, or "v_prediction" for Stable Diffusion 2
   * and "epsilon" for others; give "epsilon" for Stable Diffusion 2 base.
   */
  predictionType?: "epsilon" | "v_prediction";
}

/** Components that the pipelines have which load from single files. */
export interface SingleFileComponents {
  vae: AutoencoderKL;
  unet: UNet2DConditionModel;
  scheduler: Scheduler;
}

/** A model of a file, by its component's name. */
interface CheckedModel<C> {
  readonly name: keyof C;
  readonly modelClass: ModelClass;
  readonly inFile: InSingleFile;
  readonly config: JsonObject;
}

/** A file whose components fit together, before its weights are read. */
export interface CheckedSingleFile<C> {
  readonly file: SingleFile;
  /** The local folder of the option `config`. */
  readonly configFolder: string | undefined;
  /** The configurations of all models, given ones included; of others the components themselves. */
  readonly configs: PipelineConfigs<C>;
  readonly given: Partial<C>;
  /** The components that are complete: those given, and those without weights. */
  readonly ready: Partial<C>;
  /** The models to load, with their configurations without defaults. */
  readonly models: readonly CheckedModel<C>[];
}

/** Refuses a file of another family than the pipeline's. */
function checkFamily(
  { components, className }: Pick<PipelineDescription<unknown>, "components" | "className">,
  file: SingleFile,
): void {
  const { family, path } = file;
  if (family === "autoencoder")
    throw new InstructPix2PixError(
      "ERR_STATE_DICT",
      `${path}: is an autoencoder alone: load it with AutoencoderKL.fromSingleFile`,
    );
  const isXL = isXLFamily(family);
  if (isXL === "textEncoder2" in components) return;
  const kind = isXL ? `a Stable Diffusion XL ${family === "sdxl" ? "model" : "refiner"}` : "a Stable Diffusion model";
  throw new InstructPix2PixError(
    "ERR_CONFIG",
    `${path}: is ${kind}, which ${className} does not run: load it with a class whose name begins with StableDiffusion${isXL ? "XL" : ", without XL"}`,
  );
}

/**
 * Checks from the header of a file, and the folder of configurations if one is given, that it holds the components of a
 * pipeline and that they fit together, with those that the caller gives instead. Weights are not read.
 *
 * @param options with the components that are given
 * @throws `ERR_INVALID_ARGUMENT`, `ERR_FILE_NOT_FOUND`, `ERR_SAFETENSORS`, `ERR_STATE_DICT`, `ERR_CONFIG`, `ERR_HUB` for
 *   `config`
 */
export async function checkSingleFile<C extends SingleFileComponents>(
  description: PipelineDescription<C>,
  path: string,
  options: SingleFilePipelineOptions & GivenComponents<C>,
): Promise<CheckedSingleFile<C>> {
  const given = givenComponents(description, options);
  checkPredictionType(options, given.scheduler);
  const file = await openSingleFile(path);
  checkFamily(description, file);
  const absent = absentComponents(description, file, given);
  const classes = slotsOf(description).flatMap(([name, slot]) => {
    const entry = registeredClass(slot.classes[0]!);
    if (name in given || name in absent) return [];
    if (entry.files.kind !== "model") {
      if (entry.files.kind === "tokenizer" || name === "scheduler") return [];
      const needs = `${description.className} needs ${String(name)}, which a single file does not hold`;
      throw new InstructPix2PixError("ERR_CONFIG", `${needs}: give it`);
    }
    const modelClass = entry as ModelClass;
    if (slot.list !== undefined)
      throw new InstructPix2PixError(
        "ERR_CONFIG",
        `${description.className} needs ${String(name)}, which the file does not hold: give it`,
      );
    if (!modelClass.inSingleFile)
      throw new InstructPix2PixError("ERR_CONFIG", `${description.className} does not load from a single file`);
    return [{ name, modelClass, inFile: modelClass.inSingleFile }];
  });
  for (const { inFile } of classes) componentOf(file, inFile.component);
  const configFolder = await resolveConfigFolder(options);
  const configs = Object.fromEntries(
    Object.entries({ ...given, ...absent }).map(([name, part]) => [name, configOf(part)]),
  ) as {
    -readonly [K in keyof PipelineConfigs<C>]: PipelineConfigs<C>[K];
  };
  const models: CheckedModel<C>[] = [];
  for (const found of classes) {
    const { config, given: stored } = await found.inFile.check(file, configFolder);
    configs[found.name] = config as PipelineConfigs<C>[keyof C];
    models.push({ ...found, config: stored });
  }
  const inputChannels = (configs as PipelineConfigs<SingleFileComponents>).unet.in_channels;
  const index = configFolder === undefined ? undefined : await readModelIndexOf(configFolder);
  const light: Partial<C> = { ...absent, ...settingsFor(description, file, inputChannels, index) };
  for (const [name, slot] of slotsOf(description))
    if (slot.folder.startsWith("tokenizer") && !(name in given) && !(name in absent))
      light[name] = (await tokenizerOf(file, slot.folder, configFolder)) as C[keyof C];
  const scheduler = given.scheduler ?? (await schedulerOf(file, inputChannels, configFolder, options));
  const ready = { ...light, scheduler, ...given };
  for (const [name, value] of Object.entries(ready)) if (!(name in given)) Object.assign(configs, { [name]: value });
  checkTogether(description, configs, path);
  return { file, configFolder, configs, given, ready, models };
}

/** Components that the pipeline may lack and the file does: null, with the tokenizers of text encoders. */
function absentComponents<C>(description: PipelineDescription<C>, file: SingleFile, given: Partial<C>): Partial<C> {
  const lacks = (folder: string) => !file.components.has(folder as ComponentName);
  const absent: Partial<C> = {};
  for (const [name, { folder, optional }] of slotsOf(description))
    if (optional && !(name in given) && lacks(folder.replace("tokenizer", "text_encoder")))
      absent[name] = null as C[keyof C];
  return absent;
}

async function readModelIndexOf(folder: string): Promise<ModelIndex | undefined> {
  return (await isFile(join(folder, MODEL_INDEX))) ? await readModelIndex(folder) : undefined;
}

/** The settings of the published models of each kind, or those of an index. */
function settingsFor<C>(
  description: PipelineDescription<C>,
  { family, isEdm }: SingleFile,
  channels: number,
  index: ModelIndex | undefined,
): Partial<C> {
  const isRefiner = family === "sdxl-refiner";
  const published: Readonly<Record<string, SettingValue>> = {
    force_zeros_for_empty_prompt: !isRefiner,
    requires_aesthetics_score: isRefiner,
    is_cosxl_edit: isEdm && channels === 8,
  };
  return Object.fromEntries(
    settingsOf(description).map(([name, setting]) => [
      name,
      index ? settingIn(index, setting) : (published[setting.key] ?? setting.fallback),
    ]),
  ) as Partial<C>;
}

function checkTogether<C>({ check }: PipelineDescription<C>, configs: PipelineConfigs<C>, path: string): void {
  try {
    check?.(configs);
  } catch (error) {
    if (!isInstructPix2PixError(error)) throw error;
    throw new InstructPix2PixError(error.code, `${path}: ${error.message}`, { cause: error.cause });
  }
}

function checkPredictionType({ predictionType }: SingleFilePipelineOptions, scheduler: Scheduler | undefined): void {
  const invalid = (problem: string) => new InstructPix2PixError("ERR_INVALID_ARGUMENT", problem);
  if (predictionType === undefined) return;
  if (predictionType !== "epsilon" && predictionType !== "v_prediction")
    throw invalid(`predictionType must be "epsilon" or "v_prediction", not ${describe(predictionType)}`);
  if (scheduler !== undefined)
    throw invalid("predictionType is part of the given scheduler's configuration: give one of the two");
}

async function schedulerOf(
  file: SingleFile,
  channels: number,
  folder: string | undefined,
  { predictionType }: SingleFilePipelineOptions,
): Promise<Scheduler> {
  const overrides = predictionType === undefined ? {} : { prediction_type: predictionType };
  if (folder === undefined) {
    const { className, config } = defaultScheduler(file, channels);
    return schedulerFromClassName(className).fromConfig(config, overrides);
  }
  const className = componentClass(await readModelIndex(folder), "scheduler", SCHEDULER_NAMES);
  const config = await readConfig(join(folder, "scheduler", SCHEDULER_CONFIG));
  return schedulerFromClassName(className).fromConfig(config, overrides);
}

/** Text encoders of OpenCLIP pad texts with the id 0, which is "!", others with the end marker. */
function tokenizerOf({ family }: SingleFile, part: string, folder: string | undefined): Promise<CLIPTokenizer> {
  if (folder !== undefined) return CLIPTokenizer.fromPretrained(join(folder, part));
  const isOpenClip = family === "sd2" || part === "tokenizer_2";
  return CLIPTokenizer.fromPretrained(builtInTokenizer, isOpenClip ? { padToken: "!" } : {});
}

import { join } from "node:path";
import {
  configOf,
  givenComponents,
  type PipelineConfigs,
  type PipelineDescription,
  slotsOf,
} from "../components/description.js";
import type { GivenComponents } from "../components/load.js";
import { componentClass, readModelIndex } from "../components/model-index.js";
import { type InSingleFile, type ModelClass, registeredClass } from "../components/registry.js";
import { describe } from "../core/arguments.js";
import { InstructPix2PixError, isInstructPix2PixError } from "../core/errors.js";
import { readConfig } from "../files/config.js";
import type { JsonObject } from "../models/schema.js";
import type { StableDiffusionComponents } from "../pipelines/components.js";
import { SCHEDULER_CONFIG, SCHEDULER_NAMES, schedulerFromClassName } from "../schedulers/registry.js";
import type { Scheduler } from "../schedulers/scheduler.js";
import { builtInTokenizer } from "../tokenizer/built-in.js";
import { CLIPTokenizer } from "../tokenizer/clip_tokenizer.js";
import { componentOf, openSingleFile, type SingleFile } from "./file.js";
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
  /** Of all models, given ones included; of others the components themselves. */
  readonly configs: PipelineConfigs<C>;
  readonly given: Partial<C>;
  /** The components that are complete: those given, and those without weights. */
  readonly ready: Partial<C>;
  /** The models to load, with their configurations without defaults. */
  readonly models: readonly CheckedModel<C>[];
}

/** The first component of each kind of file that cannot be loaded as a pipeline. */
const UNSUPPORTED = {
  sdxl: "is a Stable Diffusion XL model, which is not supported: its second text encoder and the UNet's added embeddings cannot be loaded",
  "sdxl-refiner":
    "is a Stable Diffusion XL refiner, which is not supported: its text encoder and the UNet's added embeddings cannot be loaded",
  autoencoder: "is an autoencoder alone: load it with AutoencoderKL.fromSingleFile",
} as const;

/**
 * Checks from the header of a file, and the folder of configurations if one is given, that it holds the components of a
 * pipeline and that they fit together, with those that the caller gives instead. Weights are not read.
 *
 * @param options with the components that are given
 * @throws `ERR_INVALID_ARGUMENT`, `ERR_FILE_NOT_FOUND`, `ERR_SAFETENSORS`, `ERR_STATE_DICT`, `ERR_CONFIG`, `ERR_HUB` for
 *   `config`
 */
export async function checkSingleFile<C extends StableDiffusionComponents>(
  description: PipelineDescription<C>,
  path: string,
  options: SingleFilePipelineOptions & GivenComponents<C>,
): Promise<CheckedSingleFile<C>> {
  const given = givenComponents(description, options);
  checkPredictionType(options, given.scheduler);
  const file = await openSingleFile(path);
  if (file.family !== "sd1" && file.family !== "sd2")
    throw new InstructPix2PixError(
      file.family === "autoencoder" ? "ERR_STATE_DICT" : "ERR_CONFIG",
      `${path}: ${UNSUPPORTED[file.family]}`,
    );
  const classes = slotsOf(description).flatMap(([name, slot]) => {
    const entry = registeredClass(slot.classes[0]!);
    if (name in given || entry.files.kind !== "model") return [];
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
  const configs = Object.fromEntries(Object.entries(given).map(([name, part]) => [name, configOf(part)])) as {
    -readonly [K in keyof PipelineConfigs<C>]: PipelineConfigs<C>[K];
  };
  const models: CheckedModel<C>[] = [];
  for (const found of classes) {
    const { config, given: stored } = await found.inFile.check(file, configFolder);
    configs[found.name] = config as PipelineConfigs<C>[keyof C];
    models.push({ ...found, config: stored });
  }
  const inputChannels = (configs as PipelineConfigs<StableDiffusionComponents>).unet.in_channels;
  const light = {
    tokenizer: given.tokenizer ?? (await tokenizerOf(file, configFolder)),
    scheduler: given.scheduler ?? (await schedulerOf(file, inputChannels, configFolder, options)),
  };
  Object.assign(configs, light);
  checkTogether(description, configs, path);
  return { file, configFolder, configs, given, ready: { ...given, ...light }, models };
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
    const { className, config } = defaultScheduler(file.family, channels);
    return schedulerFromClassName(className).fromConfig(config, overrides);
  }
  const className = componentClass(await readModelIndex(folder), "scheduler", SCHEDULER_NAMES);
  const config = await readConfig(join(folder, "scheduler", SCHEDULER_CONFIG));
  return schedulerFromClassName(className).fromConfig(config, overrides);
}

/** Stable Diffusion 2 pads texts with the id 0, which is "!", others with the end marker. */
function tokenizerOf({ family }: SingleFile, folder: string | undefined): Promise<CLIPTokenizer> {
  if (folder !== undefined) return CLIPTokenizer.fromPretrained(join(folder, "tokenizer"));
  return CLIPTokenizer.fromPretrained(builtInTokenizer, family === "sd2" ? { padToken: "!" } : {});
}

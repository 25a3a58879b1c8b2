import { join } from "node:path";
import { InstructPix2PixError } from "../core/errors.js";
import { checkKnown, type OptionNames, optionNames } from "../core/known-options.js";
import { readConfig } from "../files/config.js";
import { isFile } from "../files/is-file.js";
import { type ResolveOptions, resolvePretrained } from "../hub/index.js";
import { MODEL_CONFIG } from "../models/format.js";
import {
  type LoadedModel,
  loadModel,
  MODEL_OPTIONS,
  type ModelDescription,
  type ModelOptions,
  type ModelSource,
  QUANTIZATION_OPTIONS,
  type QuantizationOptions,
} from "../models/pretrained.js";
import type { JsonObject } from "../models/schema.js";
import { componentOf, openSingleFile, type SingleFile } from "./file.js";
import type { ComponentName } from "./layout.js";
import { type NameTable, viewsOf } from "./names.js";

/** Options for finding the configurations that a single file lacks. */
export interface SingleFileConfigOptions
  extends Pick<ResolveOptions, "revision" | "cacheDir" | "token" | "localFilesOnly" | "signal"> {
  /**
   * A folder in diffusers' format, or the id of a repository on the Hugging Face hub, whose configurations (no weights)
   * are used instead of those inferred from the file.
   */
  config?: string;
}

/** Options of loading a model from a single file. */
export interface SingleFileModelOptions extends Omit<ModelOptions, "variant">, SingleFileConfigOptions {}

const { variant: _variant, ...FILE_MODEL_OPTIONS } = MODEL_OPTIONS;

/** The names of {@link SingleFileModelOptions}. */
export const SINGLE_FILE_MODEL_OPTIONS = optionNames<SingleFileModelOptions>()({
  ...FILE_MODEL_OPTIONS,
  config: true,
  revision: true,
  cacheDir: true,
  token: true,
  localFilesOnly: true,
});

/** The names of the options of models that can be quantized. */
export const QUANTIZABLE_SINGLE_FILE_OPTIONS = optionNames<SingleFileModelOptions & QuantizationOptions>()({
  ...SINGLE_FILE_MODEL_OPTIONS,
  ...QUANTIZATION_OPTIONS,
});

/** How a class of models is stored in single files. */
export interface SingleFileTables<Config> {
  component: ComponentName;
  /** Its `config.json`, from the names and shapes of the tensors. */
  infer: (file: SingleFile) => JsonObject;
  names: (config: Config, file: SingleFile) => NameTable;
}

/** Everything but weights that a pipeline's repository may contribute. */
const CONFIG_FILES = [
  "config.json",
  "model_index.json",
  "scheduler/scheduler_config.json",
  "tokenizer/*.json",
  "tokenizer/*.txt",
  "tokenizer_2/*.json",
  "tokenizer_2/*.txt",
  "text_encoder/config.json",
  "text_encoder_2/config.json",
  "unet/config.json",
  "vae/config.json",
];

/** The local folder of the option `config`; undefined if it is not given. */
export async function resolveConfigFolder(options: SingleFileConfigOptions): Promise<string | undefined> {
  const { config, ...rest } = options;
  if (config === undefined) return undefined;
  if (typeof config !== "string" || config === "")
    throw new InstructPix2PixError(
      "ERR_INVALID_ARGUMENT",
      "config must be a folder in diffusers' format or the id of a repository on the Hugging Face hub",
    );
  const { revision, cacheDir, token, localFilesOnly, signal } = rest;
  const hub = { revision, cacheDir, token, localFilesOnly, signal };
  return await resolvePretrained(config, { ...hub, allowPatterns: CONFIG_FILES });
}

/** A model in a single file, before its weights are read. */
export interface SingleFileSource<Config> extends ModelSource<Config> {
  /** The configuration without defaults. */
  given: JsonObject;
}

/**
 * Finds a model in a single file. Its configuration is that of a folder (of the model or its pipeline), or inferred.
 *
 * @throws `ERR_STATE_DICT` for a file without the model, or with tensors that belong to none; `ERR_CONFIG`
 */
export async function singleFileSource<Config>(
  { parse }: Pick<ModelDescription<Config>, "parse">,
  tables: SingleFileTables<Config>,
  file: SingleFile,
  folder: string | undefined,
): Promise<SingleFileSource<Config>> {
  const component = componentOf(file, tables.component);
  const where = folder === undefined ? file.path : await configPath(folder, tables.component);
  const given = folder === undefined ? tables.infer(file) : await readConfig(where);
  const config = parse(given, where);
  return { config, given, where, files: [file.path], views: viewsOf(file, component, tables.names(config, file)) };
}

async function configPath(folder: string, component: ComponentName): Promise<string> {
  const own = join(folder, MODEL_CONFIG);
  return (await isFile(own)) ? own : join(folder, component, MODEL_CONFIG);
}

/**
 * Loads a model of a single file.
 *
 * @param known the names of the options that the class has
 */
export async function loadFromSingleFile<Config>(
  description: ModelDescription<Config>,
  tables: SingleFileTables<Config>,
  path: string,
  options: SingleFileModelOptions & QuantizationOptions,
  known: OptionNames<object> = SINGLE_FILE_MODEL_OPTIONS,
): Promise<LoadedModel<Config>> {
  checkKnown(options, known);
  return loadModel(description, options, async () => {
    const file = await openSingleFile(path);
    componentOf(file, tables.component); // before anything is downloaded
    return singleFileSource(description, tables, file, await resolveConfigFolder(options));
  });
}

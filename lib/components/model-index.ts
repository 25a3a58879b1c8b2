import { join } from "node:path";
import { InstructPix2PixError, isInstructPix2PixError } from "../core/errors.js";
import { isObject, parseObject, readConfig, show } from "../files/config.js";
import { isFile } from "../files/is-file.js";

/** The file of a pipeline's folder that names its class and components. */
export const MODEL_INDEX = "model_index.json";

/** The class of a component in `model_index.json`. */
export interface ComponentClass {
  /** The Python package, for messages only. */
  library: string;
  className: string;
}

/** Where a checkpoint of training has its components: those that were trained in itself, the others in its base model. */
export interface BaseModel {
  /** A folder, the id of a repository on the hub, or a file in the original layout. */
  model: string;
  revision?: string;
  /** The variant of its weights. */
  variant?: string;
  /** For a file: the folder or repository of its configurations. */
  config?: string;
  /** The folder or repository of an autoencoder that takes the place of the base model's. */
  vae?: string;
  /** The checkpoint's file with the LoRA that was trained. */
  lora?: string;
  /** Its file with the first convolution, where the base model's takes no image. */
  convIn?: string;
  /** The checkpoint's own folders, by component: `unet_ema` for `unet`. */
  trained: Readonly<Record<string, string>>;
}

/** The entry of a checkpoint's `model_index.json` that holds its {@link BaseModel}; other programs ignore it. */
export const BASE_MODEL = "_base_model";

/** The content of a pipeline's `model_index.json`. */
export interface ModelIndex {
  /** The file. */
  path: string;
  /** The pipeline's class. */
  className: string;
  /** Component, which is also its subfolder → class; null if the pipeline has none. */
  components: ReadonlyMap<string, ComponentClass | null>;
  /** The other entries, such as `requires_safety_checker`; those that start with "_" are omitted. */
  settings: Readonly<Record<string, unknown>>;
  /** Only in a checkpoint of training. */
  base?: BaseModel;
}

function isIdentifier(value: unknown): value is string {
  return typeof value === "string" && /^[A-Za-z_]\w{0,127}$/.test(value);
}

/**
 * Reads `model_index.json` of a pipeline's folder. Component names, which lead to subfolders, and class names are plain
 * identifiers; custom pipelines, whose classes are module paths, are refused.
 *
 * @throws `ERR_FILE_NOT_FOUND`, `ERR_IO`, `ERR_CONFIG`
 */
export async function readModelIndex(folder: string): Promise<ModelIndex> {
  const path = join(folder, MODEL_INDEX);
  try {
    return fromObject(await readConfig(path), path);
  } catch (error) {
    // A model alone, or a checkpoint of diffusers' script.
    if (!isInstructPix2PixError(error, "ERR_FILE_NOT_FOUND") || !(await isFile(join(folder, "unet", "config.json"))))
      throw error;
    throw new InstructPix2PixError(
      "ERR_FILE_NOT_FOUND",
      `${error.message}; ${folder} has a UNet, but does not say of which model: in a program load that model, with this UNet as its option unet`,
      { cause: error },
    );
  }
}

/** As {@link readModelIndex}, from the file's text. */
export function parseModelIndex(text: string, path: string): ModelIndex {
  return fromObject(parseObject(text, path), path);
}

/**
 * The class of a component; must be a known one.
 *
 * @param advice at the end of the message that refuses another one
 * @throws `ERR_CONFIG` naming component and class, also if the component is missing
 */
export function componentClass<T extends string>(
  index: ModelIndex,
  component: string,
  known: readonly T[],
  advice = "",
): T {
  const entry = index.components.get(component);
  if (!entry) throw problem(index.path, `the pipeline has no "${component}"`);
  const found = known.find((name) => name === entry.className);
  if (found === undefined)
    throw problem(
      index.path,
      `"${component}" is a ${entry.className} of ${entry.library}, which is not supported; known: ${known.join(", ")}${advice}`,
    );
  return found;
}

function fromObject(object: Record<string, unknown>, path: string): ModelIndex {
  const { _class_name: className } = object;
  if (!isIdentifier(className))
    throw problem(path, `"_class_name" is ${show(className ?? null)}, not the name of a pipeline class`);
  const components = new Map<string, ComponentClass | null>();
  const settings: Record<string, unknown> = Object.create(null);
  for (const [name, value] of Object.entries(object)) {
    if (name.startsWith("_")) continue;
    if (!Array.isArray(value)) {
      settings[name] = value;
      continue;
    }
    if (!isIdentifier(name)) throw problem(path, `${show(name)} is not the name of a component`);
    components.set(name, componentOf(name, value, path));
  }
  const base = object[BASE_MODEL];
  return { path, className, components, settings, ...(base !== undefined && { base: baseModelOf(base, path) }) };
}

function baseModelOf(value: unknown, path: string): BaseModel {
  const { trained, ...places } = isObject(value) ? value : {};
  const names = ["model", "revision", "variant", "config", "vae", "lora", "convIn"];
  const isPlace = ([name, text]: [string, unknown]) => names.includes(name) && typeof text === "string" && text !== "";
  if (
    places.model === undefined ||
    !Object.entries(places).every(isPlace) ||
    !isObject(trained) ||
    !Object.entries(trained).flat().every(isIdentifier) ||
    ![places.lora, places.convIn].every((file) => file === undefined || /^[\w-]+\.safetensors$/.test(String(file)))
  )
    throw problem(path, `"${BASE_MODEL}" is ${show(value)}, which does not say where a base model is`);
  return { ...(places as Omit<BaseModel, "trained">), trained: trained as Record<string, string> };
}

function componentOf(name: string, value: readonly unknown[], path: string): ComponentClass | null {
  const [library, className, ...rest] = value;
  if (rest.length === 0 && library === null && className === null) return null;
  if (rest.length > 0 || !isIdentifier(library) || !isIdentifier(className))
    throw problem(path, `"${name}" is ${show(value)}, expected [library, class] by their plain names`);
  return { library, className };
}

function problem(path: string, what: string): InstructPix2PixError {
  return new InstructPix2PixError("ERR_CONFIG", `${path}: ${what}`);
}

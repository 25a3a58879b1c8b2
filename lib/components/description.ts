import { join } from "node:path";
import { describe } from "../core/arguments.js";
import { InstructPix2PixError } from "../core/errors.js";
import { checkKnown, type OptionNames } from "../core/known-options.js";
import { quote } from "../core/quote.js";
import { show } from "../files/config.js";
import { isFile } from "../files/is-file.js";
import type { PretrainedModel } from "../models/pretrained.js";
import { filesOf } from "./files.js";
import { ModelAt } from "./model-at.js";
import { componentClass, type ModelIndex, readModelIndex } from "./model-index.js";
import { numberedFolders } from "./numbered.js";
import { type ComponentClassName, type ModelClass, type RegisteredClass, registeredClass } from "./registry.js";

/** A component that a pipeline has. */
export interface ComponentSlot {
  /** Its folder, which is also its name in `model_index.json`: "text_encoder". */
  readonly folder: string;
  readonly classes: readonly ComponentClassName[];
  /** Whether a pipeline may lack it; it is null then. Default false. */
  readonly optional?: boolean;
  /** For an optional one, whether a folder may lack its files although the index names it. Default false. */
  readonly mayLackFiles?: boolean;
  /**
   * For a component that may be a list of several: the class that `model_index.json` names for one. The folders of the
   * others are numbered: "controlnet_1". Options may name such components by their folders or repositories.
   */
  readonly list?: string;
}

/** A setting of a pipeline: an entry of `model_index.json` that is no component. */
export interface PipelineSetting {
  /** Its name in `model_index.json`: "force_zeros_for_empty_prompt". */
  readonly key: string;
  /** Its value where the index has none; null is then a value of the setting. */
  readonly fallback: SettingValue;
  /** Whether it is saved only where it differs from `fallback`, as diffusers' class does not write it. Default false. */
  readonly unwritten?: boolean;
}

/** A number is a whole one of at least 0. */
export type SettingValue = boolean | number | null;

/** A pipeline class, as far as loading and saving need to know it. */
export interface PipelineDescription<C> {
  /** The class in diffusers, as in `model_index.json`. */
  readonly className: string;
  /**
   * Other values of `_class_name` that it loads from. Default any: many folders name a relative of the class that loads
   * them, and their components show what they are.
   */
  readonly accepts?: readonly string[];
  /** What it is made of, components and settings, by their names in the API. */
  readonly components: {
    readonly [K in keyof C]-?: NonNullable<C[K]> extends boolean | number ? PipelineSetting : ComponentSlot;
  };
  /** What diffusers' class has besides, and these pipelines lack: null in `model_index.json`. */
  readonly lacking?: readonly string[];
  /** Other entries of `model_index.json` when it is saved. @param has whether there is a component in a folder */
  settings?(has: (folder: string) => boolean): Readonly<Record<string, unknown>>;
  /**
   * Refuses components that do not fit together, before weights are downloaded or loaded.
   *
   * @param index of the folder that they are in; undefined for those of a single file
   * @throws `ERR_CONFIG`
   */
  check?(configs: PipelineConfigs<C>, index?: ModelIndex): void;
  /** Loads the components where they are not all in one folder. Default `loadComponents`. */
  readonly load?: ((pathOrId: string, options?: object) => Promise<C>) | undefined;
}

/** What is known of components without their weights: of models the configurations, of others the components themselves. */
export type PipelineConfigs<C> = { readonly [K in keyof C]: ConfigOf<C[K]> };

// Distributes over unions, so that what may be null stays so.
type ConfigOf<T> =
  T extends PretrainedModel<infer Config>
    ? Readonly<Config>
    : T extends readonly (infer Item)[]
      ? readonly ConfigOf<Item>[]
      : T;

/** A pipeline's folder whose components fit together, before its weights are read. */
export interface CheckedPipeline<C> {
  readonly folder: string;
  readonly index: ModelIndex;
  readonly configs: PipelineConfigs<C>;
  /** What is complete: what was given, components without weights, null for those that are absent, and settings. */
  readonly ready: Partial<C>;
  /** The models to load. */
  readonly models: readonly ModelToLoad<C>[];
}

export interface ModelToLoad<C> {
  readonly name: keyof C;
  /** Its place in a list; undefined for a component that is none. */
  readonly place?: number | undefined;
  readonly folder: string;
  readonly modelClass: ModelClass;
}

type Parts<C> = Pick<PipelineDescription<C>, "components">;

/** The components of a description, typed. */
export function slotsOf<C>(description: Parts<C>): [keyof C, ComponentSlot][] {
  return partsOf(description).filter((part): part is [keyof C, ComponentSlot] => "folder" in part[1]);
}

/** The settings of a description, typed. */
export function settingsOf<C>(description: Parts<C>): [keyof C, PipelineSetting][] {
  return partsOf(description).filter((part): part is [keyof C, PipelineSetting] => "key" in part[1]);
}

function partsOf<C>({ components }: Parts<C>): [keyof C, ComponentSlot | PipelineSetting][] {
  return Object.entries(components) as [keyof C, ComponentSlot | PipelineSetting][];
}

/** The settings of a pipeline that is made of these parts: as given, else as they are where nothing is said. */
export function settingValues<C>(description: Parts<C>, parts: Partial<C>): Record<string, SettingValue> {
  return Object.fromEntries(
    settingsOf<C>(description).map(([name, { fallback }]) => [
      name,
      (parts[name] as SettingValue | undefined) ?? fallback,
    ]),
  );
}

/** The settings of a pipeline that is made of these parts, as `model_index.json` has them. */
export function savedSettings<C>(description: Parts<C>, parts: Partial<C>): Record<string, SettingValue> {
  const values = settingValues(description, parts);
  return Object.fromEntries(
    settingsOf<C>(description).flatMap(([name, { key, fallback, unwritten }]) => {
      const value = values[String(name)]!;
      return unwritten && value === fallback ? [] : [[key, value]];
    }),
  );
}

/**
 * Checks from configurations that a folder holds the components of a pipeline and that they fit together, with those
 * that the caller gives instead. Weights are not read.
 *
 * @throws `ERR_CONFIG`, `ERR_FILE_NOT_FOUND`, `ERR_IO`, `ERR_TOKENIZER`
 */
export async function checkPipeline<C>(
  description: PipelineDescription<C>,
  folder: string,
  given: Partial<C> = {},
): Promise<CheckedPipeline<C>> {
  const index = await readModelIndex(folder);
  if (index.base) throw incomplete(folder, index.base.model);
  checkClass(description, index);
  const ready: Partial<C> = { ...given };
  const configs = Object.fromEntries(Object.entries(given).map(([name, part]) => [name, configOf(part)])) as Partial<
    Record<keyof C, unknown>
  >;
  const found: { name: keyof C; place?: number; folder: string; entry: RegisteredClass }[] = [];
  for (const [name, slot] of slotsOf(description)) {
    if (name in given) continue;
    if (await isAbsent(slot, index, folder)) {
      ready[name] = null as C[keyof C];
      configs[name] = null;
    } else if (slot.list !== undefined && index.components.get(slot.folder)?.className === slot.list) {
      const entry = registeredClass(slot.classes[0]!);
      const folders = await numberedFolders(join(folder, slot.folder));
      for (const [place, at] of folders.entries()) found.push({ name, place, folder: at, entry });
      ready[name] = configs[name] = [] as C[keyof C];
    } else {
      const entry = registeredClass(componentClass(index, slot.folder, slot.classes, adviceFor(name, slot)));
      found.push({ name, folder: join(folder, slot.folder), entry });
    }
  }
  for (const [name, setting] of settingsOf(description))
    if (!(name in given)) ready[name] = configs[name] = settingIn(index, setting) as C[keyof C];
  const models: ModelToLoad<C>[] = [];
  for (const { name, place, folder, entry } of found) {
    if (isLight(entry)) ready[name] = configs[name] = (await entry.load(folder)) as C[keyof C];
    else {
      const config = await entry.readConfig(folder);
      configs[name] = place === undefined ? config : [...(configs[name] as unknown[]), config];
      models.push({ name, place, folder, modelClass: entry });
    }
  }
  description.check?.(configs as PipelineConfigs<C>, index);
  return { folder, index, configs: configs as PipelineConfigs<C>, ready, models };
}

/** What helps where a component is of no use. */
function adviceFor(name: PropertyKey, { mayLackFiles }: ComponentSlot): string {
  return mayLackFiles ? `; ${String(name)}: false does without it` : "";
}

/** Whether a pipeline's folder does without a component. */
async function isAbsent({ folder, optional, mayLackFiles }: ComponentSlot, index: ModelIndex, at: string) {
  const component = index.components.get(folder);
  if (!optional || !component) return Boolean(optional);
  const files = filesOf(component);
  return Boolean(mayLackFiles) && "config" in files && !(await isFile(join(at, folder, files.config)));
}

function incomplete(folder: string, base: string): InstructPix2PixError {
  return new InstructPix2PixError(
    "ERR_CONFIG",
    `${folder} is a checkpoint of training, which has only what was trained, of the base model ${quote(base)}; here a whole model is needed, such as the one that training saves beside its checkpoints`,
  );
}

/** A setting as an index has it. @throws `ERR_CONFIG` */
export function settingIn({ path, settings }: ModelIndex, { key, fallback }: PipelineSetting): SettingValue {
  const value = settings[key] ?? fallback;
  if (isSetting(value, fallback)) return value;
  throw new InstructPix2PixError("ERR_CONFIG", `${path}: "${key}" is ${show(value)}, expected ${kindOf(fallback)}`);
}

/** Whether a setting with this fallback may have a value. */
function isSetting(value: unknown, fallback: SettingValue): value is SettingValue {
  if (value === null) return fallback === null;
  return typeof fallback === "number"
    ? Number.isSafeInteger(value) && (value as number) >= 0
    : typeof value === "boolean";
}

function kindOf(fallback: SettingValue): string {
  return typeof fallback === "number" ? "a whole number of at least 0" : "true or false";
}

function isLight(entry: RegisteredClass): entry is Exclude<RegisteredClass, ModelClass> {
  return entry.files.kind !== "model";
}

/**
 * The components and settings among the options of loading a pipeline, which the caller gives instead of having them
 * loaded.
 *
 * @throws `ERR_INVALID_ARGUMENT` for one of another class, or null where a component is needed
 */
export function givenComponents<C>(description: PipelineDescription<C>, options: object): Partial<C> {
  const found: Partial<C> = {};
  for (const [name, slot] of slotsOf(description)) {
    const given: unknown = (options as Partial<C>)[name];
    if (given === undefined) continue;
    const part = given === false && slot.optional ? null : given;
    const parts: readonly unknown[] = slot.list !== undefined && Array.isArray(part) && part.length > 0 ? part : [part];
    const fits = (value: unknown) =>
      value instanceof ModelAt || slot.classes.some((className) => registeredClass(className).is(value));
    if (!(part === null && slot.optional) && !parts.every(fits))
      throw new InstructPix2PixError(
        "ERR_INVALID_ARGUMENT",
        `${String(name)} must be of class ${slot.classes.join(" or ")}${slot.list ? ", or a list of them" : ""}, not ${describe(part)}`,
      );
    found[name] = part as C[keyof C];
  }
  for (const [name, { fallback }] of settingsOf(description)) {
    const value: unknown = (options as Partial<C>)[name];
    if (value === undefined) continue;
    if (!isSetting(value, fallback))
      throw new InstructPix2PixError(
        "ERR_INVALID_ARGUMENT",
        `${String(name)} must be ${kindOf(fallback)}, not ${describe(value)}`,
      );
    found[name] = value as C[keyof C];
  }
  return found;
}

/** The names of a pipeline's components. */
export function componentNames({ components }: { readonly components: object }): OptionNames<object> {
  return Object.fromEntries(Object.keys(components).map((name) => [name, true]));
}

/** @throws `ERR_INVALID_ARGUMENT` for a component that the pipeline does not have */
export function checkComponentNames<C>(description: PipelineDescription<C>, components: unknown): void {
  checkKnown(components, componentNames(description));
}

/**
 * Checks that loaded components are all there and fit together.
 *
 * @throws `ERR_CONFIG`
 */
export function checkComponents<C>(description: PipelineDescription<C>, components: Partial<C>): void {
  const configs: Partial<Record<keyof C, unknown>> = {};
  for (const [name, slot] of slotsOf(description)) {
    if (!(name in components) && !slot.optional)
      throw new InstructPix2PixError(
        "ERR_CONFIG",
        `${description.className} needs ${String(name)}, which the other pipeline does not have: give it`,
      );
    configs[name] = configOf(components[name] ?? null);
  }
  Object.assign(configs, settingValues(description, components));
  description.check?.(configs as PipelineConfigs<C>);
}

/** What is known of a component without its weights. */
export function configOf(part: unknown): unknown {
  if (Array.isArray(part)) return part.map(configOf);
  if (part instanceof ModelAt) return part.config;
  return isModel(part) ? part.config : part;
}

function isModel(part: unknown): part is PretrainedModel<unknown> {
  return typeof part === "object" && part !== null && "format" in part;
}

/** @throws `ERR_CONFIG` for an index that names a class which the pipeline does not load from */
export function checkClass(
  { className, accepts }: Pick<PipelineDescription<unknown>, "className" | "accepts">,
  index: ModelIndex,
): void {
  if (accepts === undefined || index.className === className || accepts.includes(index.className)) return;
  throw new InstructPix2PixError(
    "ERR_CONFIG",
    `${index.path} names a ${index.className}; ${className} loads from ${[className, ...accepts].join(", ")}`,
  );
}

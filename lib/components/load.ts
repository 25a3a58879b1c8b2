import { join } from "node:path";
import { InstructPix2PixError, isInstructPix2PixError, throwIfAborted } from "../core/errors.js";
import { checkKnown, type OptionNames, optionNames } from "../core/known-options.js";
import { readConfig } from "../files/config.js";
import { type DownloadProgress, RESOLVE_OPTIONS, type ResolveOptions, resolvePretrained } from "../hub/index.js";
import type { ModelOptions, PretrainedModel } from "../models/pretrained.js";
import type { WeightBaseName } from "../models/weight-names.js";
import { listVariants, resolveWeights, weightBytes } from "../models/weights.js";
import {
  type CheckedPipeline,
  checkPipeline,
  componentNames,
  givenComponents,
  type PipelineDescription,
  slotsOf,
} from "./description.js";
import { type LoadProgress, LoadReport } from "./load-progress.js";
import { ModelAt, type PlaceOptions, withModelsAt } from "./model-at.js";
import {
  modelOptions,
  onDevice,
  PIPELINE_MODEL_OPTIONS,
  type PipelineModelOptions,
  type PlacedModelOptions,
} from "./model-options.js";
import type { ModelClass } from "./registry.js";
import { leaveToCaller } from "./shared.js";

/** Options of {@link ResolveOptions} that select files, which do not apply to a whole pipeline. */
const CHOOSE_FILES = ["components", "optionalComponents", "subfolder", "allowPatterns", "ignorePatterns"] as const;

/** Options of loading a pipeline from a folder or from the hub. */
export interface FromPretrainedOptions
  extends PipelineModelOptions,
    Pick<ModelOptions, "variant">,
    Omit<ResolveOptions, "signal" | "variant" | "checkConfigs" | "onProgress" | (typeof CHOOSE_FILES)[number]> {
  /** Called while files are downloaded, where any are missing, and then while the weights are loaded; not awaited. */
  onProgress?: (progress: DownloadProgress | LoadProgress) => void;
}

/** The options of downloading that apply to a whole pipeline. */
const {
  components: _components,
  optionalComponents: _optionalComponents,
  subfolder: _subfolder,
  allowPatterns: _allowPatterns,
  ignorePatterns: _ignorePatterns,
  checkConfigs: _checkConfigs,
  ...DOWNLOAD_OPTIONS
} = RESOLVE_OPTIONS;

const OPTIONS = optionNames<FromPretrainedOptions>()({
  ...PIPELINE_MODEL_OPTIONS,
  ...DOWNLOAD_OPTIONS,
  variant: true,
});

/**
 * Options of loading with components to use instead of the folder's, which are then neither downloaded nor loaded. They
 * stay on their devices and in their types. The pipeline does not dispose of them, unless another pipeline holds them:
 * then the last of these does.
 */
export type LoadOptions<C> = FromPretrainedOptions & GivenComponents<C>;

/**
 * Components among the options of loading; null, or false, leaves out those that a pipeline may lack. Those that may be lists can
 * also be named by their folders or repositories.
 */
export type GivenComponents<C> = { [K in keyof C]?: C[K] | ByPlace<C[K]> | (null extends C[K] ? false : never) };

// Distributes over unions.
type ByPlace<T> = T extends readonly (infer Item)[] ? string | readonly (string | Item)[] : never;

/**
 * Loads a pipeline folder as diffusers saves it: `model_index.json` and one folder per component. Models are loaded one
 * after the other: a device computes on one thread, and reading is part of that work.
 *
 * @param pathOrId a folder, or an id on the Hugging Face hub
 * @throws after disposing of everything that it loaded
 */
export async function loadComponents<C extends object>(
  description: PipelineDescription<C>,
  pathOrId: string,
  options: LoadOptions<C> = {} as LoadOptions<C>,
): Promise<C> {
  checkNames(componentNames(description), options);
  const computing = onDevice(options);
  const { variant } = options;
  const given = givenComponents(description, await withModelsAt(slotsOf(description), options, placeOptions(options)));
  let checked: CheckedPipeline<C> | undefined;
  const folder = await resolvePretrained(pathOrId, {
    ...downloadOptions(options),
    ...neededFolders(description, given),
    checkConfigs: async (at) => {
      checked = await checkPipeline(description, at, given);
    },
  });
  if (checked?.folder !== folder) checked = await checkPipeline(description, folder, given);
  const { models, ready } = checked;
  for (const { name, folder, modelClass } of models)
    if (slotsOf(description).some(([each, slot]) => each === name && slot.mayLackFiles))
      await checkWeightsOf(String(name), folder, modelClass.files.weights);
  const variantOf = variant === undefined ? noVariant : await componentVariants(folder, models, variant);
  const loading = models.map(({ name, place, folder, modelClass }) => ({
    ...{ name, place },
    load: async () => {
      const config = await readConfig(join(folder, modelClass.files.config));
      const own = modelOptions(modelClass, config, computing);
      return modelClass.load(folder, { ...own, variant: variantOf(folder) });
    },
    bytes: () => weightBytes(folder, { baseName: modelClass.files.weights, variant: variantOf(folder) }),
  }));
  return assemble(ready, [...loading, ...loadingGiven(given, computing)], given, options);
}

/** The folders of the components that a pipeline needs beside given ones, as `resolvePretrained` takes them. */
export function neededFolders<C>(
  description: Pick<PipelineDescription<C>, "components">,
  given: Partial<C>,
): Pick<ResolveOptions, "components" | "optionalComponents"> {
  const slots = slotsOf(description).filter(([name]) => !(name in given));
  const folders = (of: typeof slots) => of.map(([, { folder }]) => folder);
  return { components: folders(slots), optionalComponents: folders(slots.filter(([, slot]) => slot.mayLackFiles)) };
}

/** Refuses weights that cannot be read, with the advice to do without them. @throws `ERR_SAFETENSORS` */
async function checkWeightsOf(name: string, folder: string, baseName: WeightBaseName): Promise<void> {
  try {
    if ((await listVariants(folder, baseName)).length === 0) await resolveWeights(folder, { baseName });
  } catch (error) {
    if (!isInstructPix2PixError(error, "ERR_SAFETENSORS")) throw error;
    throw new InstructPix2PixError(error.code, `${error.message}; or do without it: ${name}: false`);
  }
}

/** The loading of those given components that are named by their places. */
export function loadingGiven<C>(given: Partial<C>, options: PlacedModelOptions): LoadingModel<keyof C>[] {
  return Object.entries(given).flatMap(([name, value]) =>
    [value].flat().flatMap((part, i) => {
      if (!(part instanceof ModelAt)) return [];
      const { folder, modelClass, variant } = part;
      const own = modelOptions(modelClass, {}, options);
      const place = Array.isArray(value) ? i : undefined;
      const load = () => part.load(own);
      const bytes = () => weightBytes(folder, { baseName: modelClass.files.weights, variant });
      return [{ name: name as keyof C, place, load, bytes }];
    }),
  );
}

/** A model that is about to be loaded. */
export interface LoadingModel<Name> {
  readonly name: Name;
  /** Its place in a list; undefined for a component that is none. */
  readonly place?: number | undefined;
  load(): Promise<PretrainedModel<unknown>>;
  /** The bytes of its weights. */
  bytes(): number | Promise<number>;
}

/**
 * Loads models one after the other.
 *
 * @param ready the other components
 * @param given those that are the caller's
 * @throws after disposing of those that it loaded
 */
export async function assemble<C extends object>(
  ready: Partial<C>,
  models: readonly LoadingModel<keyof C>[],
  given: Partial<C>,
  { signal, onProgress }: Pick<FromPretrainedOptions, "signal"> & { onProgress?: (progress: LoadProgress) => void },
): Promise<C> {
  const components: Partial<C> = { ...ready };
  const loaded: PretrainedModel<unknown>[] = [];
  try {
    const sizes = onProgress ? await Promise.all(models.map(({ bytes }) => bytes())) : models.map(() => 0);
    const report = new LoadReport(sizes, onProgress);
    for (const [i, { name, place, load }] of models.entries()) {
      throwIfAborted(signal);
      const model = await load();
      loaded.push(model);
      if (place === undefined) components[name] = model as C[keyof C];
      else components[name] = placed(components[name] as readonly unknown[], place, model) as C[keyof C];
      report.loaded(sizes[i]!);
    }
  } catch (error) {
    for (const part of loaded) part.dispose();
    throw error;
  }
  for (const part of Object.values(given)) leaveToCaller(part);
  return components as C;
}

/** The list with another item at a place. */
function placed(list: readonly unknown[], place: number, item: unknown): unknown[] {
  const changed = [...list];
  changed[place] = item;
  return changed;
}

/**
 * Checks the names of options, components included.
 *
 * @throws `ERR_INVALID_ARGUMENT` for an unknown name
 */
export function checkNames(components: OptionNames<object>, options: unknown): void {
  for (const name of CHOOSE_FILES)
    if ((options as Record<string, unknown> | null)?.[name] !== undefined)
      throw new InstructPix2PixError(
        "ERR_INVALID_ARGUMENT",
        `${name} is no option of a pipeline, which needs all of its files; resolvePretrained has it`,
      );
  checkKnown(options, { ...OPTIONS, ...components });
}

/** Those of the options that apply to a model in a place of its own. */
export function placeOptions(options: FromPretrainedOptions): PlaceOptions {
  const { variant, cacheDir, token, localFilesOnly, signal, onProgress } = options;
  return { variant, cacheDir, token, localFilesOnly, signal, onProgress };
}

/** Those of the options that say where files come from. */
function downloadOptions(options: FromPretrainedOptions): ResolveOptions {
  const given = Object.entries(options).filter(([name]) => Object.hasOwn(DOWNLOAD_OPTIONS, name));
  return Object.fromEntries(given);
}

const noVariant = (): undefined => undefined;

/**
 * The variant for each component's folder: those that have it, as in diffusers; at least one must.
 *
 * @throws `ERR_STATE_DICT` listing the available variants
 */
async function componentVariants(
  folder: string,
  models: readonly { folder: string; modelClass: ModelClass }[],
  variant: string,
): Promise<(component: string) => string | undefined> {
  const present = new Map<string, string[]>();
  for (const model of models)
    present.set(model.folder, await listVariants(model.folder, model.modelClass.files.weights));
  const known = [...new Set([...present.values()].flat())];
  if (models.length > 0 && !known.includes(variant))
    throw new InstructPix2PixError(
      "ERR_STATE_DICT",
      `${folder}: no component has the variant "${variant}"; available: ${known.length > 0 ? known.join(", ") : "none"}`,
    );
  return (component) => (present.get(component)?.includes(variant) ? variant : undefined);
}

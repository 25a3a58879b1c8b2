import { join } from "node:path";
import { InstructPix2PixError, isInstructPix2PixError } from "../core/errors.js";
import { readConfig, show } from "../files/config.js";
import { type ResolveOptions, resolvePretrained } from "../hub/index.js";
import type { ModelOptions, PretrainedModel, QuantizationOptions } from "../models/pretrained.js";
import { listVariants } from "../models/weights.js";
import type { Environment } from "../runtime/platform.js";
import type { ComponentSlot } from "./description.js";
import { type ModelClass, registeredClass } from "./registry.js";

export type PlaceOptions = Pick<
  ResolveOptions,
  "variant" | "cacheDir" | "token" | "localFilesOnly" | "signal" | "onProgress"
>;

/** A model that an option names by its folder or repository, before its weights are read. */
export class ModelAt {
  readonly folder: string;
  readonly modelClass: ModelClass;
  /** Defaults filled in. */
  readonly config: unknown;
  /** Undefined for the plain weights. */
  readonly variant: string | undefined;

  protected constructor(parts: Pick<ModelAt, "folder" | "modelClass" | "config" | "variant">) {
    this.folder = parts.folder;
    this.modelClass = parts.modelClass;
    this.config = parts.config;
    this.variant = parts.variant;
  }

  /**
   * Finds a model, in the hub's cache or a folder, and checks its configuration. Of a variant, its weights are used if there
   * are any.
   *
   * @throws `ERR_CONFIG` for a model of another class, `ERR_FILE_NOT_FOUND`, `ERR_HUB`, `ERR_IO`
   */
  static async find(
    pathOrId: string,
    { classes }: ComponentSlot,
    options: PlaceOptions,
    env: Environment = process.env,
  ): Promise<ModelAt> {
    const modelClass = registeredClass(classes[0]!) as ModelClass;
    const folder = await resolved(pathOrId, options, env);
    const where = join(folder, modelClass.files.config);
    const { _class_name: className = modelClass.className } = await readConfig(where);
    if (className !== modelClass.className)
      throw new InstructPix2PixError("ERR_CONFIG", `${where}: is a ${show(className)}, not a ${modelClass.className}`);
    const config = await modelClass.readConfig(folder);
    const { variant } = options;
    const has = variant !== undefined && (await listVariants(folder, modelClass.files.weights)).includes(variant);
    return new ModelAt({ folder, modelClass, config, variant: has ? variant : undefined });
  }

  load(options: ModelOptions & QuantizationOptions): Promise<PretrainedModel<unknown>> {
    return this.modelClass.load(this.folder, { ...options, variant: this.variant });
  }
}

/** A repository without the variant has its plain weights downloaded. */
async function resolved(pathOrId: string, options: PlaceOptions, env: Environment): Promise<string> {
  const { variant, ...plain } = options;
  try {
    return await resolvePretrained(pathOrId, options, env);
  } catch (error) {
    if (variant === undefined || !isInstructPix2PixError(error, "ERR_HUB")) throw error;
    return await resolvePretrained(pathOrId, plain, env);
  }
}

/**
 * The options with models in place of the folders and repositories that name them.
 *
 * @param slots of the pipeline
 * @throws as {@link ModelAt.find}
 */
export async function withModelsAt<Options extends object>(
  slots: readonly [PropertyKey, ComponentSlot][],
  options: Options,
  hub: PlaceOptions,
  env?: Environment,
): Promise<Options> {
  const found: Record<PropertyKey, unknown> = {};
  for (const [name, slot] of slots) {
    const given = (options as Record<PropertyKey, unknown>)[name];
    if (!slot.list || given === undefined) continue;
    const one = async (part: unknown) => (typeof part === "string" ? await ModelAt.find(part, slot, hub, env) : part);
    if (!Array.isArray(given)) found[name] = await one(given);
    else {
      const parts: unknown[] = [];
      for (const part of given) parts.push(await one(part));
      found[name] = parts;
    }
  }
  return { ...options, ...found };
}

import { readModelIndex } from "../components/model-index.js";
import { readWeightIndex } from "../models/weight-index.js";
import {
  HOW_TO_CONVERT,
  isPickle,
  isWeightIndex,
  type WeightBaseName,
  weightFileNames,
} from "../models/weight-names.js";
import { repositoryError } from "./errors.js";
import type { FileSource } from "./source.js";

/** The components of a pipeline loaded by default. */
export const DEFAULT_COMPONENTS: readonly string[] = ["scheduler", "tokenizer", "text_encoder", "unet", "vae"];

export interface SelectOptions {
  readonly components?: readonly string[] | undefined;
  /** The weight variant, for components that have it. */
  readonly variant?: string | undefined;
  /** Called with a pipeline's folder after its configurations and before its weights are obtained. */
  readonly checkConfigs?: ((folder: string) => Promise<unknown>) | undefined;
}

/**
 * Obtains exactly the files that a pipeline needs, chosen as diffusers does: `model_index.json`, and for every listed
 * component its configuration or tokenizer files and its safetensors (one file, or shards with an index). With a
 * variant, a component's files of that variant if it has any, else the plain ones.
 *
 * @throws `ERR_HUB` for missing files, for weights in pickle files only, and if no component has the variant;
 * `ERR_CONFIG` for a malformed `model_index.json`, `ERR_SAFETENSORS` for a malformed index
 */
export async function obtainPipeline(source: FileSource, options: SelectOptions): Promise<void> {
  await source.obtain(["model_index.json"]);
  const wanted = options.components ?? DEFAULT_COMPONENTS;
  const { components } = await readModelIndex(folderOf(source.path("model_index.json")));
  const files: string[] = [];
  let variantFound = false;
  for (const [name, component] of components) {
    if (component === null || !wanted.includes(name)) continue;
    const folder = new Folder(source, `${name}/`);
    if (component.className.includes("Tokenizer")) files.push(...folder.tokenizerFiles());
    else if (component.className.endsWith("Scheduler")) files.push(folder.required("scheduler_config.json"));
    else {
      const base = component.library === "transformers" ? "model" : "diffusion_pytorch_model";
      files.push(folder.required("config.json"));
      const ofVariant = options.variant === undefined ? undefined : folder.weights(base, options.variant);
      variantFound ||= ofVariant !== undefined;
      const weights = ofVariant ?? folder.weights(base);
      if (weights === undefined) throw folder.noWeights(base);
      files.push(...(await folder.withShards(weights)));
    }
  }
  if (options.variant !== undefined && !variantFound)
    throw repositoryError(`${source.label}: no component has weights of variant ${JSON.stringify(options.variant)}`);
  if (options.checkConfigs) {
    await source.obtain(files.filter((name) => name.endsWith(".json")));
    await options.checkConfigs(folderOf(source.path("model_index.json")));
  }
  await source.obtain(files);
}

/**
 * Obtains one model, scheduler or tokenizer, whose files are at `prefix`.
 *
 * @param prefix empty, or a folder with a slash at its end
 * @throws as {@link obtainPipeline}; a requested variant must exist
 */
export async function obtainModel(source: FileSource, prefix: string, { variant }: SelectOptions): Promise<void> {
  const folder = new Folder(source, prefix);
  if (folder.has("config.json")) {
    const base = folder.names.some((name) => name.startsWith("diffusion_pytorch_model."))
      ? "diffusion_pytorch_model"
      : "model";
    const weights = folder.weights(base, variant);
    if (weights === undefined) throw folder.noWeights(base, variant);
    await source.obtain([folder.required("config.json"), ...(await folder.withShards(weights))]);
  } else if (folder.has("scheduler_config.json")) await source.obtain([folder.required("scheduler_config.json")]);
  else if (folder.has("tokenizer.json") || folder.has("vocab.json")) await source.obtain(folder.tokenizerFiles());
  else
    throw repositoryError(
      `${source.label}: ${prefix === "" ? "the repository" : `the folder ${JSON.stringify(prefix)}`} holds no model: there is ${
        prefix === "" ? "neither model_index.json nor config.json" : "no config.json"
      }`,
    );
}

function folderOf(path: string): string {
  return path.slice(0, -"/model_index.json".length);
}

/** A folder in a repository's listing. */
class Folder {
  readonly names: readonly string[];
  readonly #known: ReadonlySet<string>;
  readonly #source: FileSource;
  readonly #prefix: string;

  constructor(source: FileSource, prefix: string) {
    this.#source = source;
    this.#prefix = prefix;
    this.names = [...source.names]
      .filter((name) => name.startsWith(prefix) && !name.slice(prefix.length).includes("/"))
      .map((name) => name.slice(prefix.length))
      .sort();
    this.#known = new Set(this.names);
  }

  has(name: string): boolean {
    return this.#known.has(name);
  }

  required(name: string): string {
    if (this.has(name)) return this.#prefix + name;
    throw repositoryError(`${this.#source.label}: no file ${JSON.stringify(this.#prefix + name)}`);
  }

  tokenizerFiles(): string[] {
    if (!this.has("tokenizer.json")) for (const name of ["vocab.json", "merges.txt"]) this.required(name);
    return this.names.filter((name) => /\.(?:json|txt|model)$/.test(name)).map((name) => this.#prefix + name);
  }

  /** The file or the index with the weights. */
  weights(base: WeightBaseName, variant?: string): string | undefined {
    return weightFileNames(base, variant).find((name) => this.has(name));
  }

  /** An index and the shards that it names. */
  async withShards(weights: string): Promise<string[]> {
    const name = this.#prefix + weights;
    if (!isWeightIndex(weights)) return [name];
    await this.#source.obtain([name]);
    const { shards } = await readWeightIndex(this.#source.path(name));
    return [name, ...shards.map((shard) => this.required(shard))];
  }

  noWeights(base: WeightBaseName, variant?: string): Error {
    const where = `${this.#source.label}${this.#prefix === "" ? "" : `, ${this.#prefix.slice(0, -1)}`}`;
    const safe = this.names.filter((name) => name.startsWith(`${base}.`) && name.includes(".safetensors"));
    if (safe.length > 0)
      return repositoryError(
        `${where}: has weights only as ${safe.slice(0, 3).join(", ")}; ask for ${
          variant === undefined ? "that variant" : "another variant, or none"
        }`,
      );
    const pickles = this.names.filter(isPickle);
    if (pickles.length > 0)
      return repositoryError(
        `${where}: has weights only in the pickle file ${pickles[0]}, which can run code and is never read. ${HOW_TO_CONVERT}`,
      );
    return repositoryError(`${where}: has no ${base}.safetensors`);
  }
}

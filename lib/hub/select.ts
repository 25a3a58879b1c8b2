import { filesOf, isList, usableComponents } from "../components/files.js";
import { MODEL_INDEX, readModelIndex } from "../components/model-index.js";
import { numbered } from "../components/numbered.js";
import { MODEL_CONFIG, weightBaseName } from "../models/format.js";
import { readWeightIndex } from "../models/weight-index.js";
import {
  HOW_TO_CONVERT,
  isPickle,
  isWeightIndex,
  type WeightBaseName,
  weightFileNames,
} from "../models/weight-names.js";
import { SCHEDULER_CONFIG } from "../schedulers/registry.js";
import { repositoryError } from "./errors.js";
import type { FileSource } from "./source.js";

export interface SelectOptions {
  /** Default {@link usableComponents}. */
  readonly components?: readonly string[] | undefined;
  /** Those of them that are left out where the repository lacks their configuration. */
  readonly optionalComponents?: readonly string[] | undefined;
  /** The weight variant, for components that have it. */
  readonly variant?: string | undefined;
  /** Called with a pipeline's folder before its weights are obtained, with everything else there. */
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
  await source.obtain([MODEL_INDEX]);
  const index = await readModelIndex(folderOf(source.path(MODEL_INDEX)));
  const wanted = options.components ?? usableComponents(index);
  const configs: string[] = [];
  const weights: string[] = [];
  let [models, ofVariant] = [0, 0];
  for (const [name, component] of index.components) {
    if (component === null || !wanted.includes(name)) continue;
    const files = filesOf(component);
    const folder = new Folder(source, `${name}/`);
    if (files.kind === "tokenizer") {
      configs.push(...folder.tokenizerFiles());
      continue;
    }
    const optional = options.optionalComponents?.includes(name) ?? false;
    if (optional && !folder.has(files.config)) continue;
    configs.push(folder.required(files.config));
    if (files.kind !== "model") continue;
    for (const one of isList(component) ? folder.numbered() : [folder]) {
      models++;
      const varied = options.variant === undefined ? undefined : one.weights(files.weights, options.variant);
      if (varied !== undefined) ofVariant++;
      const file = varied ?? one.weights(files.weights);
      if (file === undefined) throw one.noWeights(files.weights, { optional });
      if (one !== folder) configs.push(one.required(files.config));
      weights.push(...(await one.withShards(file)));
    }
  }
  if (options.variant !== undefined && models > 0 && ofVariant === 0)
    throw repositoryError(`${source.label}: no component has weights of variant ${JSON.stringify(options.variant)}`);
  if (options.checkConfigs) {
    await source.obtain(configs);
    await options.checkConfigs(folderOf(source.path(MODEL_INDEX)));
  }
  await source.obtain([...configs, ...weights]);
}

/**
 * Obtains one model, scheduler or tokenizer, whose files are at `prefix`.
 *
 * @param prefix empty, or a folder with a slash at its end
 * @throws as {@link obtainPipeline}; a requested variant must exist
 */
export async function obtainModel(source: FileSource, prefix: string, { variant }: SelectOptions): Promise<void> {
  const folder = new Folder(source, prefix);
  if (folder.has(MODEL_CONFIG)) {
    const ofDiffusers = weightBaseName("diffusers");
    const base = folder.names.some((name) => name.startsWith(`${ofDiffusers}.`))
      ? ofDiffusers
      : weightBaseName("transformers");
    const weights = folder.weights(base, variant);
    if (weights === undefined) throw folder.noWeights(base, { variant });
    await source.obtain([folder.required(MODEL_CONFIG), ...(await folder.withShards(weights))]);
  } else if (folder.has(SCHEDULER_CONFIG)) await source.obtain([folder.required(SCHEDULER_CONFIG)]);
  else if (folder.has("tokenizer.json") || folder.has("vocab.json")) await source.obtain(folder.tokenizerFiles());
  else
    throw repositoryError(
      `${source.label}: ${prefix === "" ? "the repository" : `the folder ${JSON.stringify(prefix)}`} holds no model: there is ${
        prefix === "" ? `neither ${MODEL_INDEX} nor ${MODEL_CONFIG}` : `no ${MODEL_CONFIG}`
      }`,
    );
}

function folderOf(path: string): string {
  return path.slice(0, -`/${MODEL_INDEX}`.length);
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

  /** This folder and those of the other models of its list, as far as their numbers follow one another. */
  numbered(): Folder[] {
    const folders: Folder[] = [this];
    for (;;) {
      const next = new Folder(this.#source, `${numbered(this.#prefix.slice(0, -1), folders.length)}/`);
      if (!next.has(MODEL_CONFIG)) return folders;
      folders.push(next);
    }
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

  noWeights(base: WeightBaseName, { variant, optional }: { variant?: string | undefined; optional?: boolean }): Error {
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
        `${where}: has weights only in the pickle file ${pickles[0]}, which can run code and is never read. ${HOW_TO_CONVERT}${
          optional ? "; or load the pipeline without this component" : ""
        }`,
      );
    return repositoryError(`${where}: has no ${base}.safetensors`);
  }
}

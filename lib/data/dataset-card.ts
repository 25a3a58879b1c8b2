import { quote } from "../core/quote.js";
import { trimSlashes } from "../core/trim.js";
import { cardHead } from "../files/card-head.js";
import { readTextFile } from "../files/text-file.js";
import { datasetError, listOf } from "./errors.js";
import { parseYaml } from "./yaml.js";

/** A configuration declared in a dataset's card. */
export interface CardConfig {
  readonly name: string;
  readonly isDefault: boolean;
  /** File patterns by split; undefined to search the default places. */
  readonly patterns: ReadonlyMap<string, readonly string[]> | undefined;
  /** The folder of its files, relative to the dataset's. */
  readonly folder: string;
}

/** Far above any real dataset card. */
const MAX_CARD = 16 * 2 ** 20;
/** A card may declare one configuration per folder. */
const MAX_CONFIGS = 10_000;

/**
 * The configurations that a dataset declares, in its card or in a separate YAML file, which takes precedence.
 *
 * @param find resolves one of these files to its path, if it exists
 * @param where what errors call the dataset
 * @throws `ERR_DATASET` for a declaration that cannot be understood
 */
export async function readConfigs(
  find: (name: string) => Promise<string | undefined>,
  where: string,
): Promise<CardConfig[]> {
  for (const [name, read] of [
    [".huggingface.yaml", readYamlConfigs],
    ["README.md", readCardConfigs],
  ] as const) {
    const path = await find(name);
    if (path === undefined) continue;
    const configs = read(await readTextFile(path, { maxBytes: MAX_CARD, code: "ERR_DATASET" }), `${where}: ${name}`);
    if (configs.length > 0) return configs;
  }
  return [];
}

/**
 * The configurations in the YAML head of a dataset's `README.md`, as the `datasets` library reads them.
 *
 * @param where what errors call the file
 * @throws `ERR_DATASET` for a head that cannot be understood
 */
export function readCardConfigs(readme: string, where: string): CardConfig[] {
  const head = cardHead(readme);
  return head === undefined ? [] : readYamlConfigs(head, where);
}

/** The same from a pure YAML file. */
export function readYamlConfigs(yaml: string, where: string): CardConfig[] {
  const { configs } = (parseYaml(yaml, where) ?? {}) as { configs?: unknown };
  if (configs === undefined || configs === null) return [];
  if (!Array.isArray(configs)) throw datasetError(`${where}: configs must be a list`);
  if (configs.length > MAX_CONFIGS)
    throw datasetError(`${where}: ${configs.length} configurations are more than the allowed ${MAX_CONFIGS}`);
  return configs.map((config) => readConfig(config, where));
}

function readConfig(config: unknown, where: string): CardConfig {
  const { config_name, data_files, data_dir, default: isDefault } = (config ?? {}) as Record<string, unknown>;
  if (typeof config_name !== "string") throw datasetError(`${where}: a configuration has no config_name`);
  if (data_dir !== undefined && typeof data_dir !== "string")
    throw datasetError(`${where}: data_dir of configuration ${quote(config_name)} must be text`);
  return {
    name: config_name,
    isDefault: isDefault === true,
    patterns:
      data_files === undefined || data_files === null ? undefined : readPatterns(data_files, config_name, where),
    folder: trimSlashes((data_dir ?? "").replace(/^(?:\.?\/)+/, "")),
  };
}

/** A pattern, a list of patterns, or a list of `{split, path}`; the default split is `train`. */
function readPatterns(files: unknown, config: string, where: string): Map<string, string[]> {
  const malformed = () =>
    datasetError(`${where}: data_files of configuration ${quote(config)} are not patterns of file names`);
  const texts = (value: unknown): string[] => {
    const list = Array.isArray(value) ? value : [value];
    if (list.length === 0 || !list.every((item) => typeof item === "string")) throw malformed();
    return list;
  };
  if (!Array.isArray(files) || !files.some((item) => typeof item === "object"))
    return new Map([["train", texts(files)]]);
  const patterns = new Map<string, string[]>();
  for (const item of files) {
    const { split, path } = (item ?? {}) as { split?: unknown; path?: unknown };
    if (typeof split !== "string") throw malformed();
    if (patterns.has(split))
      throw datasetError(`${where}: configuration ${quote(config)} names split ${quote(split)} twice`);
    patterns.set(split, texts(path));
  }
  return patterns;
}

/**
 * Chooses a configuration: the requested one, else the default one, else the only one.
 *
 * @throws `ERR_DATASET` listing the configurations
 */
export function chooseConfig(configs: readonly CardConfig[], asked: string | undefined, where: string): CardConfig {
  const names = listOf(configs.map(({ name }) => name));
  const found =
    asked !== undefined
      ? configs.filter(({ name }) => name === asked)
      : configs.filter(({ name, isDefault }) => configs.length === 1 || isDefault || name === "default");
  if (found.length === 1) return found[0]!;
  if (found.length > 1) throw datasetError(`${where}: several configurations are the default one: ${names}`);
  throw datasetError(
    asked === undefined
      ? `${where} has several configurations; choose one with datasetConfigName: ${names}`
      : `${where} has no configuration ${quote(asked)}; known: ${names}`,
  );
}

import { posix } from "node:path";
import { quote } from "../core/quote.js";
import { type CardConfig, chooseConfig } from "./dataset-card.js";
import { datasetError, listOf } from "./errors.js";
import { byCodePoints, matchPaths, matchPatterns } from "./glob.js";

/** The files that hold the rows of the split `train`, in the order of the rows. */
export interface TrainFiles {
  readonly format: "parquet" | "image folder";
  /** Relative to the dataset's folder, with forward slashes: parquet files, or images and their metadata. */
  readonly names: readonly string[];
}

/** Keywords by which the `datasets` library recognises splits in names of files and folders. */
const SPLIT_KEYWORDS = {
  train: ["train", "training"],
  validation: ["validation", "valid", "dev", "val"],
  test: ["test", "testing", "eval", "evaluation"],
} as const;
type Split = keyof typeof SPLIT_KEYWORDS;
const SPLITS = Object.keys(SPLIT_KEYWORDS) as Split[];

const SEPARATOR = "[-._ 0-9]";
const IN_FOLDER_NAME = (word: string) => [
  `**/${word}/**`,
  `**/${word}${SEPARATOR}*/**`,
  `**/*${SEPARATOR}${word}/**`,
  `**/*${SEPARATOR}${word}${SEPARATOR}*/**`,
];
const IN_FILE_NAME = (word: string) => [`**/${word}${SEPARATOR}*`, `**/*${SEPARATOR}${word}${SEPARATOR}*`];
const SHARDS = "[0-9][0-9][0-9][0-9][0-9]-of-[0-9][0-9][0-9][0-9][0-9]*.*";

const IGNORED = /(?:^|\/)(?:README\.md|config\.json|dataset_infos?\.json|dummy_data\.zip|dataset_dict\.json)$/;
const METADATA = /(?:^|\/)metadata\.(?:jsonl|csv|parquet)$/;
// Common image formats that Pillow opens.
const PICTURE =
  /\.(?:png|apng|jpe?g|jpe|jfif|webp|gif|tiff?|avifs?|bmp|dib|heic|heif|jxl|jp2|j2k|jpx|ppm|pgm|pbm|pnm|tga|ico|icns|psd)$/i;
const PARQUET = /\.(?:parquet|geoparquet|gpq)$/;

export function isMetadataName(name: string): boolean {
  return METADATA.test(name);
}

/**
 * Chooses the files of the split `train` as `datasets.load_dataset(folder)` does: by the configurations of the dataset's
 * card, else by the names of files and folders, else all. In image folders only the names of folders with metadata
 * count, since images may have any name.
 *
 * @param paths every file below the dataset's folder, relative, with forward slashes
 * @param where what errors call the dataset
 * @throws `ERR_DATASET` if no file is found, or if there are several configurations and none was chosen
 */
export function chooseTrainFiles(
  paths: readonly string[],
  configs: readonly CardConfig[],
  configName: string | undefined,
  where: string,
): TrainFiles {
  const config = configs.length > 0 ? chooseConfig(configs, configName, where) : undefined;
  const files = paths.filter((path) => !IGNORED.test(path)).sort(byCodePoints);
  const folder = config?.folder ?? configFolder(files, configName, where);
  const prefix = folder === "" ? "" : `${folder}/`;
  const inFolder = files.filter((path) => path.startsWith(prefix)).map((path) => path.slice(prefix.length));

  let names: string[];
  if (config?.patterns) names = byPatterns(inFolder, config.patterns, where);
  else if (formatOf(matchPaths(inFolder, "**")) === "image folder") names = trainMetadataAndPictures(inFolder);
  else names = byUsualNames(inFolder, where);

  const format = formatOf(names);
  if (format === undefined) throw nothingUsable(names.length > 0 ? names : matchPaths(inFolder, "**"), where);
  const wanted = (name: string) =>
    format === "parquet" ? PARQUET.test(name) : METADATA.test(name) || PICTURE.test(name);
  return { format, names: names.filter(wanted).map((name) => prefix + name) };
}

/** A configuration that the card does not declare is a folder of that name, as in the hub's parquet conversions. */
function configFolder(files: readonly string[], name: string | undefined, where: string): string {
  if (name === undefined || name === "default") return "";
  if (name !== "" && files.some((path) => path.startsWith(`${name}/`))) return name;
  throw datasetError(`${where} has no configuration ${quote(name)}; leave datasetConfigName out`);
}

function isParquetData(name: string): boolean {
  return PARQUET.test(name) && !METADATA.test(name);
}

/** The most frequent format; parquet if tied. Images count only with metadata; metadata may stand alone. */
function formatOf(names: readonly string[]): TrainFiles["format"] | undefined {
  const parquet = names.filter(isParquetData).length;
  const pictures = names.filter((name) => PICTURE.test(name)).length;
  const metadata = names.some((name) => METADATA.test(name));
  if (parquet > 0 && (parquet >= pictures || !metadata)) return "parquet";
  return pictures > 0 || metadata ? "image folder" : undefined;
}

function byPatterns(
  files: readonly string[],
  patterns: ReadonlyMap<string, readonly string[]>,
  where: string,
): string[] {
  const train = patterns.get("train");
  if (!train) throw noTrainSplit([...patterns.keys()], where);
  const clean = train.map((pattern) => cleanPattern(pattern, where));
  const names = resolve(files, clean);
  const found = new Set(names);
  const missing = clean.filter((pattern) => !/[*?[]/.test(pattern) && !found.has(pattern));
  if (missing.length > 0) throw datasetError(`${where}: there is no file ${listOf(missing)} of the split "train"`);
  if (names.length === 0) throw datasetError(`${where}: no file matches ${listOf(train)} of the split "train"`);
  return names;
}

function cleanPattern(pattern: string, where: string): string {
  const clean = posix.normalize(pattern);
  if (pattern.includes("://") || clean.startsWith("/") || clean.startsWith(".."))
    throw datasetError(`${where}: data_files lead out of the dataset: ${quote(pattern)}`);
  return clean;
}

/** The first rule that finds any split decides. */
function byUsualNames(files: readonly string[], where: string): string[] {
  const shards = matchPaths(files, `data/*-${SHARDS}`);
  if (shards.length > 0) {
    const train = matchPaths(files, `data/train-${SHARDS}`);
    if (train.length > 0) return train;
    throw noTrainSplit(
      [...new Set(shards.map((name) => posix.basename(name).replace(/-\d{5}-of-\d{5}.*$/s, "")))],
      where,
    );
  }
  for (const rule of [IN_FOLDER_NAME, IN_FILE_NAME]) {
    const splits = new Map(SPLITS.map((split) => [split, resolve(files, SPLIT_KEYWORDS[split].flatMap(rule))]));
    const found = SPLITS.filter((split) => splits.get(split)!.length > 0);
    if (found.includes("train")) return splits.get("train")!;
    if (found.length > 0) throw noTrainSplit(found, where);
  }
  return matchPaths(files, "**");
}

/** The files that match, pattern by pattern, each once. */
function resolve(files: readonly string[], patterns: readonly string[]): string[] {
  return [...new Set(matchPatterns(files, patterns).flat())];
}

/** The metadata files to train on: those in folders named after training, else those that no other split claims. */
export function trainMetadata(files: readonly string[]): string[] {
  const metadata = matchPaths(files, "**").filter(isMetadataName);
  const of = (...splits: Split[]) =>
    resolve(
      metadata,
      splits.flatMap((split) => SPLIT_KEYWORDS[split].flatMap(IN_FOLDER_NAME)),
    ).sort(byCodePoints);
  const train = of("train");
  if (train.length > 0) return train;
  const others = new Set(of("validation", "test"));
  const rest = metadata.filter((name) => !others.has(name));
  return rest.length > 0 ? rest : metadata;
}

function trainMetadataAndPictures(files: readonly string[]): string[] {
  return [...trainMetadata(files), ...matchPaths(files, "**").filter((name) => PICTURE.test(name))];
}

function noTrainSplit(splits: readonly string[], where: string) {
  return datasetError(`${where} has no split "train", only ${listOf(splits)}`);
}

function nothingUsable(names: readonly string[], where: string) {
  if (names.length === 0) return datasetError(`${where} holds no data files`);
  const extensions = [...new Set(names.map((name) => posix.extname(name)).filter((extension) => extension !== ""))];
  const arrow = extensions.includes(".arrow")
    ? "; a dataset written by save_to_disk must be written again with to_parquet"
    : "";
  return datasetError(
    `${where} holds neither parquet files nor images with metadata.jsonl, .csv or .parquet, only ${listOf(extensions)}${arrow}`,
  );
}

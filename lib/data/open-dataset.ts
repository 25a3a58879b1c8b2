import { stat } from "node:fs/promises";
import { basename, dirname, extname, join } from "node:path";
import { InstructPix2PixError, throwIfAborted } from "../core/errors.js";
import { cacheFolder, type Environment } from "../runtime/platform.js";
import { chooseTrainFiles, isMetadataName, type TrainFiles, trainMetadata } from "./data-files.js";
import { DataFolder } from "./data-folder.js";
import type { EditColumns, EditDataset, RowSelector } from "./dataset.js";
import { readConfigs } from "./dataset-card.js";
import { datasetError } from "./errors.js";
import { byCodePoints, matchPaths } from "./glob.js";
import { obtainHubDataset } from "./hub-dataset.js";
import { openImageFolder } from "./image-folder.js";
import { NumpyGenerator } from "./numpy-random.js";
import { openParquetDataset } from "./parquet/dataset.js";
import { openWebDataset } from "./webdataset/dataset.js";
import { shardNames } from "./webdataset/names.js";

/** Progress of opening a dataset. */
export interface DatasetProgress {
  /** Fetching files from the hub, or making the rows of parquet files readable one by one. */
  readonly stage: "download" | "unpack";
  /** Bytes, rows, or shards. */
  readonly done: number;
  readonly total: number;
}

export interface OpenDatasetOptions {
  /** A folder of images with metadata, of parquet files, or of WebDataset's tar shards. */
  trainDataDir?: string | undefined;
  /** WebDataset's tar shards instead: paths and URLs with `::` between them, with `{000..123}` for numbers. */
  trainShards?: string | undefined;
  /** Gigabytes of unpacked shards that are kept on the disk. Default 20. */
  shardCache?: number | undefined;
  /** One file instead: a table of metadata (.jsonl, .csv, .parquet) beside its images, or a parquet file with images. */
  dataFile?: string | undefined;
  /** A folder laid out like a dataset on the Hugging Face hub, or the id of one there; goes before `trainDataDir`. */
  datasetName?: string | undefined;
  /** The configuration to use, of those in the dataset's card. */
  datasetConfigName?: string | undefined;
  /** Where downloads and unpacked images go. Default: the Hugging Face cache, and this package's own. */
  cacheDir?: string | undefined;
  /** Default "input_image". */
  originalImageColumn?: string | undefined;
  /** Default "edited_image". */
  editedImageColumn?: string | undefined;
  /** Default "edit_prompt". */
  editPromptColumn?: string | undefined;
  /** Whether rows come with the text of all other columns too. Default false. */
  otherColumns?: boolean | undefined;
  /** Takes only this many rows, drawn as `datasets`' `shuffle(seed)` draws them; all if there are fewer. */
  maxTrainSamples?: number | undefined;
  /** For `maxTrainSamples`. */
  seed?: number | bigint | undefined;
  /** Throws for an unusable row as soon as it is found, instead of skipping it later. */
  strict?: boolean | undefined;
  /** "diffusers": all of `trainDataDir` is training data, whatever the names of its folders. */
  compat?: "diffusers" | undefined;
  /** Access token for datasets on the hub. Default: as for models. */
  hubToken?: string | undefined;
  signal?: AbortSignal | undefined;
  onProgress?: ((progress: DatasetProgress) => void) | undefined;
}

/**
 * Opens a dataset of edits: pairs of images with the instruction that leads from one to the other. Rows are in the
 * order of the `datasets` library's split `train`; several metadata files, which that library reads in no fixed order,
 * are sorted by path.
 *
 * @throws `ERR_DATASET` if it does not exist, is malformed or lacks a column; `ERR_FILE_NOT_FOUND`, `ERR_HUB`,
 *   `ERR_INVALID_ARGUMENT`, `ERR_IO`, `ERR_ABORTED`
 */
export async function openDataset(options: OpenDatasetOptions, env: Environment = process.env): Promise<EditDataset> {
  const { signal } = options;
  throwIfAborted(signal);
  const columns: EditColumns = {
    original: options.originalImageColumn ?? "input_image",
    edited: options.editedImageColumn ?? "edited_image",
    prompt: options.editPromptColumn ?? "edit_prompt",
  };
  const select = selector(options);
  const strict = options.strict ?? false;
  const otherColumns = options.otherColumns ?? false;
  const found = await findFiles(options, env);
  if ("shards" in found)
    return openWebDataset({
      ...{ shards: found.shards, columns, otherColumns, select, signal },
      folder: join(options.cacheDir ?? cacheFolder(env), "unpacked-shards"),
      maxBytes: (options.shardCache ?? SHARD_CACHE) * 1e9,
      onShards: (done, total) => options.onProgress?.({ stage: "unpack", done, total }),
    });
  const { folder, files } = found;
  if (files.format === "image folder") {
    const metadata = options.dataFile === undefined ? files.names.filter(isMetadataName) : files.names;
    return openImageFolder({ folder, metadata, columns, otherColumns, strict, select, signal });
  }
  const stores = join(options.cacheDir ?? cacheFolder(env), "unpacked-datasets");
  const onRows = (done: number, total: number) => options.onProgress?.({ stage: "unpack", done, total });
  return openParquetDataset({ folder, files: files.names, columns, otherColumns, stores, select, signal, onRows });
}

/** Gigabytes. */
const SHARD_CACHE = 20;
const TAR = /\.tar$/i;

/** The files of a data set: of tar shards paths and URLs, else those of a folder. */
type Found = { shards: readonly string[] } | { folder: DataFolder; files: TrainFiles };

async function findFiles(options: OpenDatasetOptions, env: Environment): Promise<Found> {
  const { trainDataDir, dataFile, datasetName, datasetConfigName, trainShards } = options;
  for (const [name, value] of Object.entries({ datasetName, trainDataDir, dataFile }))
    if (value === "") throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", `${name} is empty`);
  if (trainShards !== undefined) {
    if (trainDataDir !== undefined || dataFile !== undefined)
      throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", "trainShards is a data set of its own: give it alone");
    return { shards: shardNames(trainShards) };
  }
  if (dataFile !== undefined) {
    if (TAR.test(dataFile)) return { shards: [dataFile] };
    const files: TrainFiles = { format: formatOfFile(dataFile), names: [basename(dataFile)] };
    return { folder: await DataFolder.open(dirname(dataFile), true), files };
  }
  const choose = async (folder: DataFolder, paths: readonly string[]) => {
    const configs = await readConfigs((name) => folder.file(folder.absolute(name)), folder.path);
    return chooseTrainFiles(paths, configs, datasetConfigName, folder.path);
  };
  if (datasetName !== undefined) {
    if (!(await stat(datasetName).catch(() => undefined))) return obtainHubDataset(datasetName, options, env);
    const folder = await DataFolder.open(datasetName, true);
    return { folder, files: await choose(folder, await folder.list()) };
  }
  if (trainDataDir === undefined)
    throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", "give a dataset: datasetName, trainDataDir or trainShards");
  const folder = await DataFolder.open(trainDataDir, true);
  const paths = await folder.list();
  const tars = paths.filter((path) => TAR.test(path)).sort(byCodePoints);
  if (tars.length > 0 && !paths.some((path) => isMetadataName(path) || path.endsWith(".parquet")))
    return { shards: tars.map((path) => folder.absolute(path)) };
  const metadata =
    options.compat === "diffusers" ? matchPaths(paths, "**").filter(isMetadataName) : trainMetadata(paths);
  const files: TrainFiles =
    metadata.length > 0 ? { format: "image folder", names: metadata } : await choose(folder, paths);
  return { folder, files };
}

/** @throws `ERR_DATASET` for what is no table */
function formatOfFile(path: string): TrainFiles["format"] {
  switch (extname(path).toLowerCase()) {
    case ".jsonl":
    case ".csv":
      return "image folder";
    case ".parquet":
      return isMetadataName(basename(path)) ? "image folder" : "parquet";
    default:
      throw datasetError(
        `${path} is no data set: give a folder, or a file whose name ends in .jsonl, .csv, .parquet or .tar`,
      );
  }
}

function selector({ maxTrainSamples, seed }: OpenDatasetOptions): RowSelector {
  if (maxTrainSamples === undefined) return async () => undefined;
  if (!Number.isSafeInteger(maxTrainSamples) || maxTrainSamples < 1)
    throw new InstructPix2PixError(
      "ERR_INVALID_ARGUMENT",
      `maxTrainSamples is a whole number of at least 1, not ${maxTrainSamples}`,
    );
  if (seed === undefined)
    throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", "maxTrainSamples draws rows at random and needs a seed");
  return async (length) => (await new NumpyGenerator(seed).permutation(length)).slice(0, maxTrainSamples);
}

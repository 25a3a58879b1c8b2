import { InstructPix2PixError, isInstructPix2PixError } from "../core/errors.js";
import { obtainSnapshot } from "../hub/index.js";
import { isRepositoryId } from "../hub/repository.js";
import type { FileSource } from "../hub/source.js";
import type { Environment } from "../runtime/platform.js";
import { chooseTrainFiles, type TrainFiles } from "./data-files.js";
import { DataFolder } from "./data-folder.js";
import { type CardConfig, readConfigs } from "./dataset-card.js";
import type { OpenDatasetOptions } from "./open-dataset.js";

/** The branch with the hub's parquet conversion of a dataset. */
const CONVERTED = "refs/convert/parquet";

/**
 * Downloads the training files of a dataset on the Hugging Face hub that are not in the cache: its parquet files, or
 * its images with their metadata, or else the hub's parquet conversion.
 *
 * @throws `ERR_HUB`, `ERR_DATASET`, `ERR_FILE_NOT_FOUND` for an invalid id, `ERR_IO`, `ERR_ABORTED`
 */
export async function obtainHubDataset(
  id: string,
  options: OpenDatasetOptions,
  env: Environment,
): Promise<{ folder: DataFolder; files: TrainFiles }> {
  if (!isRepositoryId(id))
    throw new InstructPix2PixError(
      "ERR_FILE_NOT_FOUND",
      `${id}: no such folder (nor can it be the id of a dataset on the Hugging Face hub)`,
    );
  const name = options.datasetConfigName;
  try {
    return await obtain(id, undefined, options, env, async (source, configs) =>
      chooseTrainFiles([...source.names], configs, name, id),
    );
  } catch (unusable) {
    if (!isInstructPix2PixError(unusable, "ERR_DATASET")) throw unusable;
    try {
      return await obtain(id, CONVERTED, options, env, async ({ names }) =>
        chooseTrainFiles([...names], convertedConfigs(names), name, `${id} (${CONVERTED})`),
      );
    } catch (error) {
      // Usually the branch does not exist.
      throw isInstructPix2PixError(error, "ERR_HUB") ? unusable : error;
    }
  }
}

async function obtain(
  id: string,
  revision: string | undefined,
  { cacheDir, hubToken, signal, onProgress }: OpenDatasetOptions,
  env: Environment,
  choose: (source: FileSource, configs: CardConfig[]) => Promise<TrainFiles>,
): Promise<{ folder: DataFolder; files: TrainFiles }> {
  let files: TrainFiles | undefined;
  const select = async (source: FileSource) => {
    const find = async (name: string) => {
      if (!source.names.has(name)) return undefined;
      await source.obtain([name]);
      return source.path(name);
    };
    files = await choose(source, await readConfigs(find, id));
    await source.obtain(files.names);
  };
  const snapshot = await obtainSnapshot(
    { type: "dataset", id },
    select,
    {
      ...(revision !== undefined && { revision }),
      ...(cacheDir !== undefined && { cacheDir }),
      ...(hubToken !== undefined && { token: hubToken }),
      ...(signal && { signal }),
      onProgress: ({ allDownloadedBytes: done, allTotalBytes: total }) =>
        onProgress?.({ stage: "download", done, total }),
    },
    env,
  );
  return { folder: await DataFolder.open(snapshot, false), files: files! };
}

/** The conversions are at `CONFIGURATION/SPLIT/0000.parquet`. */
function convertedConfigs(names: ReadonlySet<string>): CardConfig[] {
  const folders = [...names].filter((name) => name.includes("/")).map((name) => name.slice(0, name.indexOf("/")));
  return [...new Set(folders)].map((folder) => ({ name: folder, isDefault: false, patterns: undefined, folder }));
}

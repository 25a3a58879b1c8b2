import { readFile, stat } from "node:fs/promises";
import { InstructPix2PixError } from "../core/errors.js";
import { quote } from "../core/quote.js";
import type { EditDataset, StoredPicture } from "./dataset.js";
import { datasetError, reasonOf } from "./errors.js";
import { type OpenDatasetOptions, openDataset } from "./open-dataset.js";

/** Larger files are not images. */
const MAX_BYTES = 1 << 30;

/** Where a user's pairs are, and what their columns are called. */
export interface PairsOptions
  extends Pick<
    OpenDatasetOptions,
    "originalImageColumn" | "editedImageColumn" | "editPromptColumn" | "cacheDir" | "signal" | "otherColumns"
  > {
  /** A folder of images with metadata, or of parquet files, or one file of metadata or with images. */
  from: string;
}

/**
 * Opens pairs of images in any layout that can be trained on.
 *
 * @throws `ERR_FILE_NOT_FOUND` if there is nothing; `ERR_DATASET`, `ERR_IO`, `ERR_ABORTED`
 */
export async function openPairs({ from, ...options }: PairsOptions): Promise<EditDataset> {
  const found = await stat(from).catch(() => undefined);
  if (found === undefined)
    throw new InstructPix2PixError("ERR_FILE_NOT_FOUND", `there is no file or folder ${quote(from)}`);
  return openDataset({ ...options, ...(found.isDirectory() ? { trainDataDir: from } : { dataFile: from }) });
}

/**
 * The file of an image as it is stored.
 *
 * @throws `ERR_DATASET` for an empty file, one that is larger than 1 GiB, and one that cannot be read
 */
export async function storedBytes(picture: StoredPicture): Promise<Uint8Array> {
  if ("bytes" in picture) {
    if (picture.bytes.length === 0) throw datasetError(`${picture.name} is empty`);
    return picture.bytes;
  }
  const { path } = picture;
  let size: number;
  let bytes: Buffer | undefined;
  try {
    ({ size } = await stat(path));
    if (size <= MAX_BYTES) bytes = await readFile(path);
  } catch (error) {
    throw datasetError(`${quote(path)} cannot be read (${reasonOf(error)})`, error);
  }
  if (bytes === undefined) throw datasetError(`${quote(path)} has ${size} bytes, more than an image`);
  if (bytes.length === 0) throw datasetError(`${quote(path)} is empty`);
  return bytes;
}

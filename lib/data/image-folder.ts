import { createHash } from "node:crypto";
import { posix } from "node:path";
import { InstructPix2PixError, throwIfAborted } from "../core/errors.js";
import { quote } from "../core/quote.js";
import { allInOrder } from "../core/settled.js";
import { columnOfKey, missingColumn, pictureKeys } from "./columns.js";
import type { DataFolder, FileStamp } from "./data-folder.js";
import { type EditColumns, type EditDataset, type RowSelector, selectRows } from "./dataset.js";
import { datasetError, listOf, reasonOf } from "./errors.js";
import { ImageFolderRows } from "./image-folder-rows.js";

export interface ImageFolderOptions {
  folder: DataFolder;
  /** The metadata files in the order of their rows, relative to the folder. */
  metadata: readonly string[];
  columns: EditColumns;
  /** Whether rows come with the text of all other columns. */
  otherColumns: boolean;
  /** Whether an unusable row is an error at once. */
  strict: boolean;
  select: RowSelector;
  signal?: AbortSignal | undefined;
}

/** Concurrent file system calls. */
const STAMPS_AT_A_TIME = 64;

/**
 * Opens a folder of images with metadata, as the `imagefolder` of the `datasets` library: a key `X_file_name` gives the
 * column `X`, `file_name` gives `image`, and its values are paths relative to the metadata file. Paths in a plain key
 * work as well. Metadata files may be in any subfolder.
 *
 * @throws `ERR_DATASET` for malformed metadata, names of files outside of the folder, and a missing column; with
 * `strict` also for an unusable row
 */
export async function openImageFolder(options: ImageFolderOptions): Promise<EditDataset> {
  const { folder, metadata, columns, otherColumns, strict, select, signal } = options;
  await checkFiles(folder, metadata);
  const rows = await ImageFolderRows.read(folder, metadata, columns, { otherColumns, signal });
  const names = [...new Set([...rows.keys].map(columnOfKey))];
  const where = metadata.length === 1 ? folder.absolute(metadata[0]!) : folder.path;
  if (rows.length === 0) throw datasetError(`${where} has no rows`);
  checkColumns(rows.keys, columns, names, where);
  if (strict)
    for (const [index, problem] of rows.problems)
      throw datasetError(`${folder.path}: ${rows.describe(index)}: ${problem}`);

  const selected = await select(rows.length);
  const { fingerprint, stamp } = await hashRows(rows, selected, options);
  const picture = async (path: string) => {
    const file = await folder.file(folder.absolute(path));
    if (file !== undefined) return { path: file };
    throw new InstructPix2PixError("ERR_FILE_NOT_FOUND", await folder.whyMissing(path));
  };
  const dataset: EditDataset = {
    length: rows.length,
    columns: names,
    textColumns: rows.textColumns,
    fingerprint,
    stamp,
    async row(index) {
      const problem = rows.problems.get(index);
      if (problem !== undefined) throw datasetError(problem);
      const [original, edited, prompt] = [rows.originals[index], rows.edited[index], rows.prompts[index]];
      if (typeof original !== "string" || typeof edited !== "string" || prompt === undefined)
        throw new RangeError(`row ${index} is out of range`);
      return { original: await picture(original), edited: await picture(edited), prompt, texts: rows.textsOf(index) };
    },
    describe: (index) => rows.describe(index),
    close: async () => {},
  };
  return selected ? selectRows(dataset, selected) : dataset;
}

async function checkFiles(folder: DataFolder, metadata: readonly string[]): Promise<void> {
  if (metadata.length === 0 && (await folder.file(folder.absolute("metadata.tsv"))) !== undefined)
    throw datasetError(`${folder.absolute("metadata.tsv")} is not read: save it as metadata.csv, separated by commas`);
  if (metadata.length === 0)
    throw datasetError(
      `${folder.path} holds no metadata.jsonl, metadata.csv or metadata.parquet that names the images and their prompts`,
    );
  const formats = [...new Set(metadata.map((name) => posix.extname(name)))];
  if (formats.length > 1)
    throw datasetError(`${folder.path} holds metadata in several formats (${listOf(metadata)}); keep one of them`);
}

function checkColumns(keys: ReadonlySet<string>, columns: EditColumns, names: readonly string[], where: string): void {
  for (const role of ["original", "edited"] as const) {
    const present = pictureKeys(columns[role]).filter((key) => keys.has(key));
    if (present.length === 0) throw missingColumn(role, columns[role], names, where);
    if (present.length > 1)
      throw datasetError(`${where}: ${listOf(present)} are both the column ${quote(columns[role])}`);
  }
  if (!keys.has(columns.prompt)) throw missingColumn("prompt", columns.prompt, names, where);
}

/** Checks the file of every used image, and hashes sizes and times together with the metadata. */
async function hashRows(
  rows: ImageFolderRows,
  selected: Uint32Array | undefined,
  { folder, columns, strict, signal }: ImageFolderOptions,
): Promise<{ fingerprint: string; stamp: string }> {
  const content = createHash("sha256").update(JSON.stringify(columns));
  const times = createHash("sha256");
  const count = selected?.length ?? rows.length;
  const fail = (index: number, reason: string, cause?: unknown) =>
    datasetError(`${folder.path}: ${rows.describe(index)}: ${reason}`, cause);
  const stampOf = async (index: number, path: string | null): Promise<FileStamp | null> => {
    if (path === null) return null;
    const found = await folder.stamp(folder.absolute(path)).catch((error: unknown) => {
      throw fail(index, reasonOf(error), error);
    });
    if (strict && found.size < 0) throw fail(index, await folder.whyMissing(path));
    return found;
  };
  for (let from = 0; from < count; from += STAMPS_AT_A_TIME) {
    throwIfAborted(signal);
    const length = Math.min(STAMPS_AT_A_TIME, count - from);
    const found = await allInOrder(
      Array.from({ length }, async (_, i) => {
        const index = selected?.[from + i] ?? from + i;
        const original = await stampOf(index, rows.originals[index]!);
        return { index, original, edited: await stampOf(index, rows.edited[index]!) };
      }),
    );
    for (const { index, original, edited } of found) {
      const row = [rows.prompts[index], rows.originals[index], original?.size, rows.edited[index], edited?.size];
      content.update(JSON.stringify(row));
      times.update(`${original?.modified} ${edited?.modified} `);
    }
  }
  const fingerprint = content.digest("hex");
  return { fingerprint, stamp: times.update(fingerprint).digest("hex") };
}

import { createHash } from "node:crypto";
import { posix } from "node:path";
import { InstructPix2PixError, throwIfAborted } from "../errors.js";
import { columnOfKey, missingColumn, pictureKeys } from "./columns.js";
import type { DataFolder, FileStamp } from "./data-folder.js";
import { type EditColumns, type EditDataset, type EditRow, type RowSelector, selectRows } from "./dataset.js";
import { datasetError, listOf } from "./errors.js";
import { describeRecord, readMetadata } from "./metadata/read.js";

export interface ImageFolderOptions {
  folder: DataFolder;
  /** The metadata files in the order of their rows, relative to the folder. */
  metadata: readonly string[];
  columns: EditColumns;
  /** Whether a row that cannot be used is an error at once. */
  strict: boolean;
  select: RowSelector;
  signal?: AbortSignal | undefined;
}

/** Questions to the file system at a time. */
const STAMPS_AT_A_TIME = 64;

/** The rows of all metadata files, one array per column; a row with a problem has no values. */
interface Rows {
  originals: (string | null)[];
  edited: (string | null)[];
  prompts: (string | null)[];
  positions: number[];
  problems: Map<number, string>;
  /** The first row of each metadata file. */
  starts: number[];
  keys: Set<string>;
}

/**
 * Opens a folder of pictures with metadata, as the `imagefolder` of the `datasets` library: a key `X_file_name` gives the
 * column `X`, `file_name` gives `image`, and its values are paths relative to the metadata file. Paths in a plain key
 * are taken as well. A metadata file may lie in any subfolder.
 *
 * @throws `ERR_DATASET` for metadata that cannot be understood or names files outside of the folder, and for a column
 *   that is missing; with `strict` also for a row that cannot be used
 */
export async function openImageFolder(options: ImageFolderOptions): Promise<EditDataset> {
  const { folder, metadata, columns, strict, select } = options;
  checkFiles(folder, metadata);
  const rows = await readRows(options);
  const names = [...new Set([...rows.keys].map(columnOfKey))];
  const where = metadata.length === 1 ? folder.absolute(metadata[0]!) : folder.path;
  if (rows.positions.length === 0) throw datasetError(`${where} has no rows`);
  checkColumns(rows.keys, columns, names, where);

  const describe = (index: number) => {
    let file = rows.starts.length - 1;
    while (rows.starts[file]! > index) file--;
    return describeRecord(metadata[file]!, rows.positions[index]!);
  };
  if (strict)
    for (const [index, problem] of rows.problems) throw datasetError(`${folder.path}: ${describe(index)}: ${problem}`);

  const selected = await select(rows.positions.length);
  const { fingerprint, stamp } = await hashRows(rows, selected, describe, options);
  const picture = async (path: string | null, column: string) => {
    if (path === null) throw datasetError(`has no ${column}`);
    const file = await folder.file(folder.absolute(path));
    if (file === undefined) throw notFound(path);
    return { path: file };
  };
  const dataset: EditDataset = {
    length: rows.positions.length,
    columns: names,
    fingerprint,
    stamp,
    describe,
    async row(index): Promise<EditRow> {
      const problem = rows.problems.get(index);
      if (problem !== undefined) throw datasetError(problem);
      if (rows.positions[index] === undefined) throw new RangeError(`there is no row ${index}`);
      const original = await picture(rows.originals[index]!, columns.original);
      const edited = await picture(rows.edited[index]!, columns.edited);
      return { original, edited, prompt: rows.prompts[index]! };
    },
    close: async () => {},
  };
  return selected ? selectRows(dataset, selected) : dataset;
}

function notFound(path: string): InstructPix2PixError {
  return new InstructPix2PixError("ERR_FILE_NOT_FOUND", `there is no picture ${JSON.stringify(path)}`);
}

function checkFiles(folder: DataFolder, metadata: readonly string[]): void {
  if (metadata.length === 0)
    throw datasetError(
      `${folder.path} holds no metadata.jsonl, metadata.csv or metadata.parquet that names the pictures and their prompts`,
    );
  const formats = [...new Set(metadata.map((name) => posix.extname(name)))];
  if (formats.length > 1)
    throw datasetError(`${folder.path} holds metadata in several formats (${listOf(metadata)}); keep one of them`);
}

async function readRows({ folder, metadata, columns, signal }: ImageFolderOptions): Promise<Rows> {
  const originalKeys = pictureKeys(columns.original);
  const editedKeys = pictureKeys(columns.edited);
  const rows: Rows = {
    originals: [],
    edited: [],
    prompts: [],
    positions: [],
    problems: new Map(),
    starts: [],
    keys: new Set(),
  };
  for (const name of metadata) {
    rows.starts.push(rows.positions.length);
    const path = await folder.file(folder.absolute(name));
    if (path === undefined) throw datasetError(`there is no file ${folder.absolute(name)}`);
    const from = posix.dirname(name);
    for await (const slice of readMetadata(path, [...originalKeys, ...editedKeys, columns.prompt])) {
      throwIfAborted(signal);
      for (const record of slice) {
        const index = rows.positions.push(record.position) - 1;
        const values = "values" in record ? record.values : {};
        for (const key of Object.keys(values)) rows.keys.add(key);
        let problem = "problem" in record ? record.problem : undefined;
        const text = (keys: readonly string[]): string | null => {
          const key = keys.find((candidate) => (values[candidate] ?? null) !== null);
          if (key === undefined) return null;
          const value = values[key];
          if (typeof value === "string") return value;
          problem ??= `${key} is not text`;
          return null;
        };
        const located = (path: string | null) => {
          if (path === null || path === "") return null;
          try {
            return folder.locate(from, path);
          } catch (error) {
            const reason = error instanceof Error ? error.message : String(error);
            throw datasetError(`${folder.path}: ${describeRecord(name, record.position)}: ${reason}`, error);
          }
        };
        rows.originals.push(located(text(originalKeys)));
        rows.edited.push(located(text(editedKeys)));
        rows.prompts.push(text([columns.prompt]));
        if (problem !== undefined) rows.problems.set(index, problem);
      }
    }
  }
  return rows;
}

function checkColumns(keys: ReadonlySet<string>, columns: EditColumns, names: readonly string[], where: string): void {
  for (const role of ["original", "edited"] as const) {
    const present = pictureKeys(columns[role]).filter((key) => keys.has(key));
    if (present.length === 0) throw missingColumn(role, columns[role], names, where);
    if (present.length > 1)
      throw datasetError(`${where}: ${listOf(present)} are both the column ${JSON.stringify(columns[role])}`);
  }
  if (!keys.has(columns.prompt)) throw missingColumn("prompt", columns.prompt, names, where);
}

/** Looks at every picture's file once, and hashes what is found with what the metadata say. */
async function hashRows(
  rows: Rows,
  selected: Uint32Array | undefined,
  describe: (index: number) => string,
  { folder, columns, strict, signal }: ImageFolderOptions,
): Promise<{ fingerprint: string; stamp: string }> {
  const content = createHash("sha256").update(JSON.stringify(columns));
  const times = createHash("sha256");
  const count = selected?.length ?? rows.positions.length;
  const stampOf = async (index: number, path: string | null): Promise<FileStamp | null> => {
    if (path === null) return null;
    let found: FileStamp;
    try {
      found = await folder.stamp(folder.absolute(path));
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw datasetError(`${folder.path}: ${describe(index)}: ${reason}`, error);
    }
    if (strict && found.size < 0)
      throw datasetError(`${folder.path}: ${describe(index)}: there is no picture ${JSON.stringify(path)}`);
    return found;
  };
  for (let from = 0; from < count; from += STAMPS_AT_A_TIME) {
    throwIfAborted(signal);
    const indices = Array.from(
      { length: Math.min(STAMPS_AT_A_TIME, count - from) },
      (_, i) => selected?.[from + i] ?? from + i,
    );
    const found = await Promise.all(
      indices.map(async (index) => ({
        index,
        original: await stampOf(index, rows.originals[index]!),
        edited: await stampOf(index, rows.edited[index]!),
      })),
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

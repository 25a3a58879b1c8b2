import { createHash } from "node:crypto";
import { stat } from "node:fs/promises";
import { throwIfAborted } from "../../core/errors.js";
import { allInOrder } from "../../core/settled.js";
import { assertDiskSpace } from "../../files/disk.js";
import { missingColumn, unusableColumn } from "../columns.js";
import type { DataFolder } from "../data-folder.js";
import { type EditColumns, type EditDataset, type RowSelector, type StoredPicture, selectRows } from "../dataset.js";
import { datasetError } from "../errors.js";
import { FilePool } from "../file-pool.js";
import { ensureStore } from "./ensure-store.js";
import { type ColumnKind, openParquet, type ParquetFile, parquetColumns } from "./file.js";
import { RecordedPaths } from "./recorded-path.js";
import { CELL, RowStore, type StoreSource, storeFolder } from "./row-store.js";

export interface ParquetDatasetOptions {
  folder: DataFolder;
  /** The parquet files in the order of their rows, relative to the folder. */
  files: readonly string[];
  columns: EditColumns;
  /** Whether rows come with the text of all other columns. */
  otherColumns: boolean;
  /** The folder for images that must be unpacked for random access. */
  stores: string;
  select: RowSelector;
  signal?: AbortSignal | undefined;
  /** Called with the number of rows that are ready for random access. */
  onRows?: ((done: number, total: number) => void) | undefined;
}

/** One parquet file. */
interface Shard {
  /** Relative to the dataset's folder. */
  readonly name: string;
  /** All links followed. */
  readonly path: string;
  readonly size: number;
  readonly modified: number;
  readonly columns: ReadonlyMap<string, ColumnKind>;
  readonly rows: number;
  /** The number of its first row in the dataset. */
  readonly start: number;
  /** Hash of the footer, which holds the sizes and positions of all values. */
  readonly footer: string;
  /** Bytes of a row, unpacked, that would have to be stored. */
  readonly rowBytes: number;
}

/**
 * Opens parquet files as the hub stores datasets of images: columns of images are the `datasets` library's struct of
 * bytes and path, or encoded bytes, or paths. A first pass over the files makes every row randomly accessible, with
 * memory bounded by one column of a row group; the result is cached for later runs.
 *
 * @throws `ERR_DATASET` for a broken file, or a column that is missing or holds something else; `ERR_IO` if the disk
 *   cannot hold what must be unpacked; `ERR_ABORTED`
 */
export async function openParquetDataset(options: ParquetDatasetOptions): Promise<EditDataset> {
  const { folder, files, columns, otherColumns, stores, select, signal, onRows } = options;
  const shards: Shard[] = [];
  let total = 0;
  for (const name of files) {
    throwIfAborted(signal);
    const shard = await openShard(folder, name, columns, total);
    shards.push(shard);
    total += shard.rows;
  }
  const where = shards.length === 1 ? folder.absolute(files[0]!) : folder.path;
  if (total === 0) throw datasetError(`${where} has no rows`);
  const selected = await select(total);

  const names = [columns.original, columns.edited, columns.prompt];
  const sources = shards.map((shard) => ({ shard, source: sourceOf(shard, names, selected) }));
  const needed = sources.filter(({ source }) => source.rows?.length !== 0);
  await assertRoom(stores, needed);
  const textColumns = otherColumns ? commonTexts(shards, names) : [];
  const opened: { shard: Shard; store: RowStore; texts: RowStore | undefined }[] = [];
  for (const { shard, source } of needed) {
    const { start } = shard;
    const store = await ensureStore(stores, source, { signal, onRows: (done) => onRows?.(start + done, total) });
    // Apart from the others, so that training uses the same store as a reader of all columns.
    const texts =
      textColumns.length > 0 ? await ensureStore(stores, { ...source, columns: textColumns }, { signal }) : undefined;
    throwIfAborted(signal);
    opened.push({ shard, store, texts });
    onRows?.(start + shard.rows, total);
  }

  const pool = new FilePool();
  const paths = new RecordedPaths(folder);
  const find = (index: number) => {
    const found = opened.find(({ shard: { start, rows } }) => index >= start && index < start + rows);
    if (!found) throw new RangeError(`there is no row ${index}`);
    return { ...found, row: index - found.shard.start };
  };
  const bytesOf = async (index: number, column: number, of: "store" | "texts" = "store") => {
    const { shard, row, [of]: store } = find(index);
    if (store === undefined) return undefined;
    const { kind, offset, length } = store.cell(row, column);
    if (kind === CELL.absent) return undefined;
    const bytes = await pool.read(kind === CELL.inPlace ? shard.path : store.cellsPath, offset, length);
    return { kind, bytes };
  };
  const picture = async (index: number, column: 0 | 1): Promise<StoredPicture> => {
    const cell = await bytesOf(index, column);
    if (cell === undefined) throw datasetError(`has no ${names[column]}`);
    if (cell.kind === CELL.stored || cell.kind === CELL.inPlace)
      return { bytes: cell.bytes, name: `the image in ${names[column]}` };
    return { path: await paths.find(find(index).shard.name, cell.bytes.toString()) };
  };
  const textsOf = async (index: number) => {
    const read = async (column: number) => (await bytesOf(index, column, "texts"))?.bytes.toString() ?? null;
    return Object.fromEntries(await allInOrder(textColumns.map(async (name, i) => [name, await read(i)])));
  };
  const { fingerprint, stamp } = hashShards(shards, columns, selected);
  const dataset: EditDataset = {
    length: total,
    columns: [...shards[0]!.columns.keys()],
    textColumns,
    fingerprint,
    stamp,
    row: async (index) => ({
      original: await picture(index, 0),
      edited: await picture(index, 1),
      prompt: (await bytesOf(index, 2))?.bytes.toString() ?? null,
      texts: await textsOf(index),
    }),
    describe: (index) => {
      const { shard, row } = find(index);
      return `${shard.name}, row ${row}`;
    },
    close: () => pool.close(),
  };
  return selected ? selectRows(dataset, selected) : dataset;
}

async function openShard(folder: DataFolder, name: string, columns: EditColumns, start: number): Promise<Shard> {
  const where = folder.absolute(name);
  const path = await folder.file(where);
  if (path === undefined) throw datasetError(`there is no file ${where}`);
  const { size, mtimeMs } = await stat(path);
  const file = await openParquet(path);
  try {
    const kinds = parquetColumns(file);
    checkColumns(kinds, columns, where);
    const rows = Number(file.metadata.num_rows);
    const footer = new Uint8Array(await file.buffer.slice(Math.max(0, size - file.metadata.metadata_length - 8), size));
    return {
      name,
      path,
      size,
      modified: mtimeMs,
      columns: kinds,
      rows,
      start,
      footer: createHash("sha256").update(footer).digest("hex"),
      rowBytes: rows === 0 ? 0 : packedBytes(file, columns) / rows,
    };
  } finally {
    await file.close();
  }
}

function checkColumns(kinds: ReadonlyMap<string, ColumnKind>, columns: EditColumns, where: string): void {
  for (const role of ["original", "edited", "prompt"] as const) {
    const name = columns[role];
    const kind = kinds.get(name);
    if (kind === undefined) throw missingColumn(role, name, [...kinds.keys()], where);
    if (role === "prompt" ? kind !== "text" : kind === "other") throw unusableColumn(role, name, where);
  }
}

/** The columns of text, besides those that are used, which all files have. */
function commonTexts(shards: readonly Shard[], used: readonly string[]): string[] {
  const isText = (name: string) => shards.every(({ columns }) => columns.get(name) === "text");
  return [...shards[0]!.columns.keys()].filter((name) => !used.includes(name) && isText(name));
}

/** Unpacked bytes of the values that must be copied into the store. */
function packedBytes({ metadata }: ParquetFile, columns: EditColumns): number {
  let bytes = 0;
  for (const group of metadata.row_groups)
    for (const { meta_data } of group.columns)
      if (
        meta_data &&
        meta_data.codec !== "UNCOMPRESSED" &&
        Object.values(columns).includes(meta_data.path_in_schema[0]!)
      )
        bytes += Number(meta_data.total_uncompressed_size);
  return bytes;
}

/** Throws if the disk is too small for the unpacked values. */
async function assertRoom(stores: string, needed: readonly { shard: Shard; source: StoreSource }[]): Promise<void> {
  let bytes = 0;
  for (const { shard, source } of needed)
    if (!(await RowStore.open(storeFolder(stores, source))))
      bytes += shard.rowBytes * (source.rows?.length ?? shard.rows);
  if (bytes > 0) await assertDiskSpace(stores, bytes);
}

/** The key of a shard's store: all its rows or the chosen ones, as ascending indices within the shard. */
function sourceOf(shard: Shard, columns: readonly string[], selected: Uint32Array | undefined): StoreSource {
  const { path, size, modified, start, rows: length } = shard;
  const rows = selected
    ?.filter((row) => row >= start && row < start + length)
    .map((row) => row - start)
    .sort();
  return { path, size, modified, columns, rows: rows ?? null };
}

function hashShards(shards: readonly Shard[], columns: EditColumns, selected: Uint32Array | undefined) {
  const content = createHash("sha256").update(
    JSON.stringify([columns, shards.map(({ size, footer, rows }) => [size, footer, rows])]),
  );
  if (selected) content.update(new Uint8Array(selected.buffer, selected.byteOffset, selected.byteLength));
  const fingerprint = content.digest("hex");
  const times = shards.map(({ modified }) => modified);
  return {
    fingerprint,
    stamp: createHash("sha256")
      .update(JSON.stringify([fingerprint, times]))
      .digest("hex"),
  };
}

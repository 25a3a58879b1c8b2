import { types } from "node:util";
import { parquetReadObjects } from "hyparquet";

import { compressors } from "./compressors.js";
import { openParquet, parquetError } from "./file.js";
import { CELL, type CellKind, RowStoreWriter } from "./row-store.js";

export interface BuildStoreOptions {
  readonly path: string;
  readonly columns: readonly string[];
  /** The needed rows, ascending; null: all. */
  readonly rows: Uint32Array | null;
  /** Where the store will be. */
  readonly folder: string;
  /** Its temporary folder until it is complete. */
  readonly temporary: string;
  /** Called with the number of finished rows. */
  readonly onRows: (done: number) => void;
}

/**
 * Reads a parquet file once, one column of one row group at a time, and writes the values into a store. Values that are
 * uncompressed in the file are not copied; the store only records their position.
 *
 * @throws `ERR_DATASET` for a broken parquet file, and what Node's file functions throw
 */
export async function buildStore({ path, columns, rows, folder, temporary, onRows }: BuildStoreOptions): Promise<void> {
  const file = await openParquet(path);
  try {
    const total = Number(file.metadata.num_rows);
    const store = await RowStoreWriter.create(folder, temporary, total, columns.length);
    try {
      let start = 0;
      let chosen = 0;
      for (const { num_rows } of file.metadata.row_groups) {
        const end = start + Number(num_rows);
        let wanted: number[] | undefined;
        if (rows) {
          wanted = [];
          for (; chosen < rows.length && rows[chosen]! < end; chosen++) wanted.push(rows[chosen]!);
        }
        if (wanted === undefined || wanted.length > 0)
          for (const [column, name] of columns.entries()) {
            const values = await readColumn(path, {
              file: file.buffer,
              metadata: file.metadata,
              columns: [name],
              rowStart: start,
              rowEnd: end,
            });
            const cells: { row: number; column: number; kind: CellKind; bytes: Uint8Array }[] = [];
            const take = (row: number) => {
              const found = cellOf(values[row - start]?.[name]);
              if (found === undefined) return;
              const offset = found.kind === CELL.stored ? file.offsetOf(found.bytes) : undefined;
              if (offset === undefined) cells.push({ row, column, ...found });
              else store.note(row, column, offset, found.bytes.length);
            };
            if (wanted) for (const row of wanted) take(row);
            else for (let row = start; row < end; row++) take(row);
            await store.append(cells);
          }
        start = end;
        onRows(end);
      }
      await store.commit();
    } finally {
      await store.close();
    }
  } finally {
    await file.close();
  }
}

async function readColumn(path: string, range: Omit<Parameters<typeof parquetReadObjects>[0], "rowFormat">) {
  try {
    return await parquetReadObjects({ ...range, compressors, utf8: false });
  } catch (error) {
    throw parquetError(path, error);
  }
}

/** An image's bytes take precedence over its path, as in the `datasets` library. */
function cellOf(value: unknown): { kind: CellKind; bytes: Uint8Array } | undefined {
  if (types.isUint8Array(value)) return { kind: CELL.stored, bytes: value };
  if (typeof value === "string") return { kind: CELL.text, bytes: Buffer.from(value) };
  if (typeof value !== "object" || value === null) return undefined;
  const { bytes, path } = value as { bytes?: unknown; path?: unknown };
  if (types.isUint8Array(bytes)) return { kind: CELL.stored, bytes };
  return typeof path === "string" ? { kind: CELL.path, bytes: Buffer.from(path) } : undefined;
}

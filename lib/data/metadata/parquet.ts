import { parquetReadObjects } from "hyparquet";

import { compressors } from "../parquet/compressors.js";
import { openParquet, parquetColumns, parquetError } from "../parquet/file.js";
import type { MetadataRecords } from "./read.js";

/**
 * Reads a table of metadata.
 *
 * @param wanted the columns whose values are needed; the first record names the others too, without values
 * @param all whether the values of all other columns of text are needed as well
 * @throws `ERR_DATASET`
 */
export async function* readParquetTable(path: string, wanted: readonly string[], all = false): MetadataRecords {
  const file = await openParquet(path);
  try {
    const kinds = parquetColumns(file);
    const names = [...kinds.keys()];
    const columns = names.filter((name) => wanted.includes(name) || (all && kinds.get(name) === "text"));
    const absent = Object.fromEntries(names.map((name) => [name, null]));
    let rowStart = 0;
    for (const { num_rows } of file.metadata.row_groups) {
      const rowEnd = rowStart + Number(num_rows);
      const range = { file: file.buffer, metadata: file.metadata, columns, rowStart, rowEnd };
      const rows =
        columns.length > 0 ? await readRows(path, range) : Array.from({ length: Number(num_rows) }, () => ({}));
      const first = rowStart;
      yield rows.map((row, i) => ({ position: first + i, values: first + i === 0 ? { ...absent, ...row } : row }));
      rowStart = rowEnd;
    }
  } finally {
    await file.close();
  }
}

async function readRows(path: string, range: Omit<Parameters<typeof parquetReadObjects>[0], "rowFormat">) {
  try {
    return await parquetReadObjects({ ...range, compressors, utf8: false });
  } catch (error) {
    throw parquetError(path, error);
  }
}

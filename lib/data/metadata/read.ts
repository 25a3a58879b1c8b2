import { posix } from "node:path";
import { readCsv } from "./csv.js";
import { readJsonLines } from "./jsonl.js";
import { readParquetTable } from "./parquet.js";

/** One record of a metadata file: its values by key, or its error. */
export type MetadataRecord = {
  /** Its line in the file, from 1; for parquet its row, from 0. */
  readonly position: number;
} & ({ readonly values: Readonly<Record<string, unknown>> } | { readonly problem: string });

/** Records in slices, between which the event loop runs. */
export type MetadataRecords = AsyncGenerator<MetadataRecord[], void, undefined>;

/**
 * Reads a `metadata.jsonl`, `.csv` or `.parquet`.
 *
 * @param wanted the keys whose values are needed; of others only the names are reported, and not in every record
 * @param all whether the text of all other keys is needed as well
 * @throws `ERR_DATASET` for a malformed file or first record
 */
export function readMetadata(path: string, wanted: readonly string[], all = false): MetadataRecords {
  switch (posix.extname(path)) {
    case ".csv":
      return readCsv(path);
    case ".parquet":
      return readParquetTable(path, wanted, all);
    default:
      return readJsonLines(path, wanted);
  }
}

/** `metadata.jsonl, line 18`, `metadata.parquet, row 17` */
export function describeRecord(name: string, position: number): string {
  return `${name}, ${name.endsWith(".parquet") ? "row" : "line"} ${position}`;
}

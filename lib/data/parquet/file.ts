import { type FileHandle, open } from "node:fs/promises";
import { type AsyncBuffer, type FileMetaData, parquetMetadataAsync, parquetSchema, type SchemaTree } from "hyparquet";
import { datasetError, reasonOf } from "../errors.js";
import { checkPageHeads, checkThrift } from "./thrift.js";

/** An open parquet file. */
export interface ParquetFile {
  readonly path: string;
  readonly buffer: AsyncBuffer;
  readonly metadata: FileMetaData;
  /** Offset in the file of an array that was decoded without copying; undefined if it was copied. */
  offsetOf(bytes: Uint8Array): number | undefined;
  close(): Promise<void>;
}

/** The usable kinds of column. */
export type ColumnKind = "text" | "bytes" | "picture" | "other";

/**
 * Opens a parquet file and reads its footer.
 *
 * @throws `ERR_DATASET`
 */
export async function openParquet(path: string): Promise<ParquetFile> {
  let handle: FileHandle;
  try {
    handle = await open(path);
  } catch (error) {
    throw datasetError(`${path} cannot be read (${(error as NodeJS.ErrnoException).code})`, error);
  }
  try {
    const { size } = await handle.stat();
    const starts = new WeakMap<ArrayBufferLike, number>();
    let chunks: Chunk[] = [];
    const buffer: AsyncBuffer = {
      byteLength: size,
      slice: async (start, end = size) => {
        const bytes = await readExactly(handle, start, Math.min(end, size) - start);
        starts.set(bytes, start);
        for (const chunk of within(chunks, start, end))
          checkPageHeads(new DataView(bytes, chunk.start - start, Math.min(chunk.end, size) - chunk.start), chunk);
        return bytes;
      },
    };
    await checkFooter(handle, size);
    const metadata = await parquetMetadataAsync(buffer, { geoparquet: false });
    checkRows(metadata, size);
    chunks = chunksOf(metadata);
    const offsetOf = (bytes: Uint8Array) => {
      const start = starts.get(bytes.buffer);
      return start === undefined ? undefined : start + bytes.byteOffset;
    };
    return { path, buffer, metadata, offsetOf, close: () => handle.close() };
  } catch (error) {
    await handle.close();
    throw parquetError(path, error);
  }
}

async function readExactly(handle: FileHandle, start: number, length: number): Promise<ArrayBuffer> {
  if (!(length >= 0)) throw new Error("it names bytes beyond its end");
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; ) {
    const { bytesRead } = await handle.read(bytes, at, length - at, start + at);
    if (bytesRead === 0) throw new Error("it ends too early");
    at += bytesRead;
  }
  return bytes.buffer;
}

/** Goes over the metadata, whose length stands before the last four bytes, as {@link checkThrift} does. */
async function checkFooter(handle: FileHandle, size: number): Promise<void> {
  const END = 8;
  if (size < END) return;
  const length = new DataView(await readExactly(handle, size - END, END)).getUint32(0, true);
  if (length <= size - END) checkThrift(new DataView(await readExactly(handle, size - END - length, length)));
}

/** Where the values of a column in a row group lie. */
interface Chunk {
  start: number;
  end: number;
  /** The size of its pages before compression. */
  bytes: number;
  values: number;
}

/** The chunks of all columns in the order of their places. */
function chunksOf({ row_groups }: FileMetaData): Chunk[] {
  return row_groups
    .flatMap(({ columns }) => columns.flatMap(({ meta_data }) => meta_data ?? []))
    .map((column) => {
      const start = Number(column.dictionary_page_offset || column.data_page_offset);
      return {
        start,
        end: start + Number(column.total_compressed_size),
        bytes: Number(column.total_uncompressed_size),
        values: Number(column.num_values),
      };
    })
    .sort((a, b) => a.start - b.start);
}

function within(chunks: readonly Chunk[], start: number, end: number): Chunk[] {
  let first = 0;
  for (let past = chunks.length; first < past; ) {
    const middle = (first + past) >> 1;
    if (chunks[middle]!.start < start) first = middle + 1;
    else past = middle;
  }
  const found: Chunk[] = [];
  for (let i = first; i < chunks.length && chunks[i]!.start < end; i++)
    if (chunks[i]!.end <= end && chunks[i]!.end > chunks[i]!.start) found.push(chunks[i]!);
  return found;
}

/** Numbers of rows and values are taken for sizes of arrays: more than bits would have no content. */
function checkRows({ num_rows, row_groups }: FileMetaData, size: number): void {
  const rows = Number(num_rows);
  const counts = row_groups.map((group) => Number(group.num_rows));
  if (counts.some((count) => count < 0) || counts.reduce((sum, count) => sum + count, 0) !== rows || rows > size * 8)
    throw new Error("its numbers of rows are wrong");
  for (const { columns } of row_groups)
    for (const { meta_data } of columns)
      if (meta_data && Number(meta_data.num_values) > size * 8) throw new Error("its numbers of values are wrong");
}

/** The typed error for a failure of the parquet reader. */
export function parquetError(path: string, error: unknown) {
  return datasetError(`${path} is not a readable parquet file: ${reasonOf(error).replace(/^parquet /, "")}`, error);
}

/**
 * The top-level columns with what they hold.
 *
 * @throws `ERR_DATASET`
 */
export function parquetColumns({ path, metadata }: ParquetFile): Map<string, ColumnKind> {
  try {
    return new Map(parquetSchema(metadata).children.map((column) => [column.element.name, kindOf(column)]));
  } catch (error) {
    throw parquetError(path, error);
  }
}

function kindOf({ element, children }: SchemaTree): ColumnKind {
  if (element.repetition_type === "REPEATED") return "other";
  if (children.length === 0) {
    if (element.type !== "BYTE_ARRAY") return "other";
    if (element.converted_type === "UTF8" || element.logical_type?.type === "STRING") return "text";
    return element.converted_type === undefined && element.logical_type === undefined ? "bytes" : "other";
  }
  // An image as the `datasets` library stores it: its encoded bytes, its path, or both.
  const kinds = new Map(children.map((child) => [child.element.name, kindOf(child)]));
  const { bytes = "bytes", path = "text", ...others } = Object.fromEntries(kinds);
  const isPicture = bytes === "bytes" && path === "text" && Object.keys(others).length === 0;
  return isPicture && element.logical_type === undefined && element.converted_type === undefined ? "picture" : "other";
}

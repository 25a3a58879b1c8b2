import { createHash } from "node:crypto";
import { type FileHandle, mkdir, open, readFile, rename, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { InstructPix2PixError } from "../../core/errors.js";

/** Content of a cell: nothing, bytes in the store, bytes in the parquet file itself, a path, or text. */
export const CELL = { absent: 0, stored: 1, inPlace: 2, path: 3, text: 4 } as const;
export type CellKind = (typeof CELL)[keyof typeof CELL];

/** One value of one row. */
export interface Cell {
  readonly kind: CellKind;
  /** Offset of its bytes, in the file given by its kind. */
  readonly offset: number;
  readonly length: number;
}

/** The key of a store; another file, or another choice of rows or columns, gives another store. */
export interface StoreSource {
  /** The parquet file, all links followed. */
  readonly path: string;
  readonly size: number;
  /** Milliseconds since 1970. */
  readonly modified: number;
  /** The columns in the order of a row's cells. */
  readonly columns: readonly string[];
  /** The rows that are needed, ascending; null: all. */
  readonly rows: Uint32Array | null;
}

const FORMAT = 1;
const CELLS_FILE = "cells.bin";
const INDEX_FILE = "index.bin";
const MANIFEST_FILE = "manifest.json";

interface Manifest {
  format: number;
  rows: number;
  columns: number;
  cellsSize: number;
}

/** The folder of a store below the folder of all of them. */
export function storeFolder(stores: string, { path, size, modified, columns, rows }: StoreSource): string {
  const hash = createHash("sha256").update(JSON.stringify([FORMAT, path, size, modified, columns]));
  if (rows) hash.update(new Uint8Array(rows.buffer, rows.byteOffset, rows.byteLength));
  return join(stores, hash.digest("hex").slice(0, 32));
}

/** Bytes of the index for one cell: offset as float64, length as uint32, kind as uint8. */
const OFFSET_BYTES = 8;
const LENGTH_BYTES = 4;

/**
 * The cells of some columns of one parquet file, with random access by row: parquet itself can only be read by whole
 * pages, which in files of images are often as large as a row group.
 */
export class RowStore {
  readonly rows: number;
  readonly #columns: number;
  readonly #offsets: Float64Array;
  readonly #lengths: Uint32Array;
  readonly #kinds: Uint8Array;
  readonly cellsPath: string;

  private constructor(folder: string, { rows, columns }: Manifest, index: Uint8Array) {
    const count = rows * columns;
    this.rows = rows;
    this.#columns = columns;
    this.cellsPath = join(folder, CELLS_FILE);
    this.#offsets = new Float64Array(index.buffer, 0, count);
    this.#lengths = new Uint32Array(index.buffer, count * OFFSET_BYTES, count);
    this.#kinds = new Uint8Array(index.buffer, count * (OFFSET_BYTES + LENGTH_BYTES), count);
  }

  /** Opens a finished store; undefined if it does not exist or is incomplete. */
  static async open(folder: string): Promise<RowStore | undefined> {
    try {
      const manifest = JSON.parse(await readFile(join(folder, MANIFEST_FILE), "utf8")) as Manifest;
      const { format, rows, columns, cellsSize } = manifest;
      if (format !== FORMAT || (await stat(join(folder, CELLS_FILE))).size !== cellsSize) return undefined;
      const file = await readFile(join(folder, INDEX_FILE));
      if (file.length !== rows * columns * (OFFSET_BYTES + LENGTH_BYTES + 1)) return undefined;
      // A separate buffer, since typed arrays need alignment.
      return new RowStore(folder, manifest, Uint8Array.from(file));
    } catch {
      return undefined;
    }
  }

  cell(row: number, column: number): Cell {
    const at = row * this.#columns + column;
    return { kind: this.#kinds[at]! as CellKind, offset: this.#offsets[at]!, length: this.#lengths[at]! };
  }
}

/** Writes a store atomically. */
export class RowStoreWriter {
  readonly #folder: string;
  readonly #temporary: string;
  readonly #cells: FileHandle;
  readonly #manifest: Manifest;
  readonly #offsets: Float64Array;
  readonly #lengths: Uint32Array;
  readonly #kinds: Uint8Array;

  private constructor(folder: string, temporary: string, cells: FileHandle, rows: number, columns: number) {
    this.#folder = folder;
    this.#temporary = temporary;
    this.#cells = cells;
    this.#manifest = { format: FORMAT, rows, columns, cellsSize: 0 };
    this.#offsets = new Float64Array(rows * columns);
    this.#lengths = new Uint32Array(rows * columns);
    this.#kinds = new Uint8Array(rows * columns);
  }

  /**
   * @param folder where the store will be
   * @param temporary where it is until then
   */
  static async create(folder: string, temporary: string, rows: number, columns: number): Promise<RowStoreWriter> {
    await mkdir(temporary, { recursive: true });
    const cells = await open(join(temporary, CELLS_FILE), "w");
    return new RowStoreWriter(folder, temporary, cells, rows, columns);
  }

  /** Records a cell that is stored in the parquet file itself. */
  note(row: number, column: number, offset: number, length: number): void {
    this.#set(row, column, { kind: CELL.inPlace, offset, length });
  }

  /** Appends cells. Cells that share an array, such as dictionary values, are stored once. */
  async append(cells: readonly { row: number; column: number; kind: CellKind; bytes: Uint8Array }[]): Promise<void> {
    let offset = this.#manifest.cellsSize;
    const offsets = new Map<Uint8Array, number>();
    for (const { row, column, kind, bytes } of cells) {
      const shared = offsets.get(bytes);
      this.#set(row, column, { kind, offset: shared ?? offset, length: bytes.length });
      if (shared !== undefined) continue;
      offsets.set(bytes, offset);
      offset += bytes.length;
    }
    const parts = [...offsets.keys()];
    for (let at = this.#manifest.cellsSize; parts.length > 0; ) {
      const batch = parts.splice(0, 512);
      const size = batch.reduce((sum, { length }) => sum + length, 0);
      const { bytesWritten } = await this.#cells.writev(batch, at);
      // A write may be partial on a full disk; the next one then fails with the reason.
      if (bytesWritten < size) await this.#writeRest(batch, bytesWritten, at);
      at += size;
    }
    this.#manifest.cellsSize = offset;
  }

  async #writeRest(parts: readonly Uint8Array[], written: number, at: number): Promise<void> {
    const rest = Buffer.concat(parts).subarray(written);
    for (let done = 0; done < rest.length; )
      done += (await this.#cells.write(rest, done, rest.length - done, at + written + done)).bytesWritten;
  }

  #set(row: number, column: number, { kind, offset, length }: Cell): void {
    const at = row * this.#manifest.columns + column;
    this.#kinds[at] = kind;
    this.#offsets[at] = offset;
    this.#lengths[at] = length;
  }

  /** Renames the store to its final place. */
  async commit(): Promise<void> {
    await this.#cells.sync();
    await this.#cells.close();
    const index = Buffer.concat([this.#offsets, this.#lengths, this.#kinds].map(bytesOf));
    await writeFile(join(this.#temporary, INDEX_FILE), index, { flush: true });
    await writeFile(join(this.#temporary, MANIFEST_FILE), JSON.stringify(this.#manifest), { flush: true });
    await rename(this.#temporary, this.#folder);
  }

  async close(): Promise<void> {
    await this.#cells.close().catch(() => {});
  }
}

function bytesOf(array: Float64Array | Uint32Array | Uint8Array): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}

/** The typed error for a store that cannot be written. */
export function storeError(folder: string, code: string | undefined, message: string): InstructPix2PixError {
  const why = code === "ENOSPC" ? "the disk is full" : (code ?? message);
  return new InstructPix2PixError(
    "ERR_IO",
    `${folder}: cannot be written (${why}); set cacheDir to a folder with room for a copy of the dataset's images`,
  );
}

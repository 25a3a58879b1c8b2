import { createHash } from "node:crypto";
import { type FileHandle, open, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { isInstructPix2PixError } from "../core/errors.js";
import { disk } from "../files/file-system.js";
import { errnoOf, ioError } from "../files/io-error.js";
import { readFully, writeFully } from "../files/whole-io.js";

/** Version of the layout below. */
export const LATENT_FORMAT = 4;
const RECORDS = "records.bin";
const DESCRIPTION = "cache.json";
/** Bytes of the SHA-256 at the end of every record. */
const HASH_BYTES = 32;

/** The layout of a record, as float32: for each flip the latents of the pair, then the text. */
export interface Layout {
  /** [C,h,w] of one row's latents. */
  latents: [number, number, number];
  /** 3 for mean and log variance of the edited image's latents and the mean of the original's; 4 with its log variance. */
  perPair: 3 | 4;
  /** The shapes of one row's texts, by name. */
  text: Record<string, number[]>;
  /** 1, or 2 if pairs may be flipped. */
  mirrorings: number;
  /** The autoencoder's memory layout for several rows, which affects noise drawn "like" the latents. */
  channelsLast: boolean;
}

/** Description of a cache's records file. */
export interface Description extends Layout {
  format: number;
  /** Hash of everything that the records depend on. */
  key: string;
  /** "1" for each usable row, "0" for the others. */
  usable: string;
  /** Rows that were encoded together, from the first on: another number may give other rounding. */
  batchSize: number;
  /** Size of the records file. */
  bytes: number;
}

/** Of records without any usable row. */
const NOTHING: Layout = { latents: [0, 0, 0], perPair: 3, text: {}, mirrorings: 1, channelsLast: false };

/** Values in a row's record. */
export function numbersOf({ latents, perPair, text, mirrorings }: Layout): number {
  const texts = Object.values(text).reduce((sum, shape) => sum + product(shape), 0);
  return mirrorings * perPair * product(latents) + texts;
}

export function product(sizes: readonly number[]): number {
  return sizes.reduce((all, size) => all * size, 1);
}

/** As in {@link Description}. */
interface NewRecords {
  key: string;
  rows: number;
  batchSize: number;
}

/** Writes the records of a cache, in any order. */
export class RecordWriter {
  readonly #file: FileHandle;
  readonly #folder: string;
  readonly #key: string;
  readonly #batchSize: number;
  readonly #usable: string[];
  #layout: Layout | undefined;

  private constructor(file: FileHandle, folder: string, { key, rows, batchSize }: NewRecords) {
    this.#file = file;
    this.#folder = folder;
    this.#key = key;
    this.#batchSize = batchSize;
    this.#usable = Array<string>(rows).fill("0");
  }

  static async create(folder: string, records: NewRecords): Promise<RecordWriter> {
    return new RecordWriter(await open(join(folder, RECORDS), "wx"), folder, records);
  }

  async write(row: number, record: Float32Array, layout: Layout): Promise<void> {
    this.#layout ??= layout;
    const bytes = withHash(this.#key, row, record);
    await writeFully(this.#file, bytes, row * bytes.length);
    this.#usable[row] = "1";
  }

  /** Completes the cache by writing its description. */
  async finish(): Promise<void> {
    // The loader refuses a data set without usable rows; a bucket may have none.
    const layout = this.#layout ?? NOTHING;
    const bytes = this.#usable.length * (numbersOf(layout) * 4 + HASH_BYTES);
    await this.#file.truncate(bytes);
    await this.#file.sync();
    const usable = this.#usable.join("");
    const description: Description = {
      format: LATENT_FORMAT,
      key: this.#key,
      ...layout,
      usable,
      batchSize: this.#batchSize,
      bytes,
    };
    await writeFile(join(this.#folder, DESCRIPTION), sealed(description), { flush: true });
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}

/** Reads and verifies records. */
export class RecordReader {
  readonly description: Description;
  readonly #file: FileHandle;
  readonly #folder: string;

  private constructor(file: FileHandle, folder: string, description: Description) {
    this.#file = file;
    this.#folder = folder;
    this.description = description;
  }

  /**
   * @returns undefined if the cache does not exist; a description of the damage if it is damaged
   * @throws `ERR_IO` if it cannot be read at all
   */
  static async open(folder: string, key: string): Promise<RecordReader | string | undefined> {
    const path = join(folder, RECORDS);
    try {
      // A pipe or a device in the place of a file could be read for ever.
      if ((await disk.lstat(folder)).kind !== "folder") return "it is not a folder";
      for (const name of [DESCRIPTION, RECORDS])
        if ((await disk.lstat(join(folder, name))).kind !== "file") return `${name} is not a file`;
      const description = unsealed(await readFile(join(folder, DESCRIPTION), "utf8"));
      if (!description) return `${DESCRIPTION} is damaged`;
      if (description.key !== key) return `${DESCRIPTION} is of another cache`;
      const { size } = await stat(path);
      if (size !== description.bytes) return `${RECORDS} has ${size} bytes where ${description.bytes} were written`;
      return new RecordReader(await open(path, "r"), folder, description);
    } catch (error) {
      if (errnoOf(error) === "ENOENT") return undefined;
      throw ioError("read the latent cache", folder, error);
    }
  }

  /**
   * @returns the record's values, or a description of the damage if it is damaged, cut off or unreadable
   */
  async read(row: number): Promise<Float32Array | string> {
    const record = new Float32Array(numbersOf(this.description) + HASH_BYTES / 4);
    const bytes = new Uint8Array(record.buffer);
    const numbers = bytes.subarray(0, bytes.length - HASH_BYTES);
    const path = join(this.#folder, RECORDS);
    try {
      await readFully(this.#file, bytes, row * bytes.length, path);
    } catch (error) {
      const failure = ioError("read", path, error);
      if (isInstructPix2PixError(failure, "ERR_IO")) return `${failure.message}, so the latents of row ${row} are lost`;
      throw failure;
    }
    if (hashOf(this.description.key, row, numbers).equals(bytes.subarray(numbers.length)))
      return record.subarray(0, numbersOf(this.description));
    return `${path}: the latents of row ${row} are damaged, their SHA-256 is not the one that was written`;
  }

  /** Writes a record in place of a damaged one. @throws `ERR_IO` */
  async replace(row: number, record: Float32Array): Promise<void> {
    const path = join(this.#folder, RECORDS);
    try {
      const file = await open(path, "r+");
      try {
        const bytes = withHash(this.description.key, row, record);
        await writeFully(file, bytes, row * bytes.length);
        await file.datasync();
      } finally {
        await file.close();
      }
    } catch (error) {
      throw ioError("write", path, error);
    }
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}

/** A record as it is in the file. */
function withHash(key: string, row: number, { buffer, byteOffset, byteLength }: Float32Array): Buffer {
  const bytes = Buffer.alloc(byteLength + HASH_BYTES);
  bytes.set(new Uint8Array(buffer, byteOffset, byteLength));
  bytes.set(hashOf(key, row, bytes.subarray(0, byteLength)), byteLength);
  return bytes;
}

/** Hash of a record's content and index, so that rows cannot be confused. */
function hashOf(key: string, row: number, bytes: Uint8Array): Buffer {
  return createHash("sha256").update(`${key} ${row}\n`).update(bytes).digest();
}

function sealed(description: Description): string {
  const text = JSON.stringify(description);
  return `${text}\n${createHash("sha256").update(text).digest("hex")}\n`;
}

/** Undefined for a text that was not written by {@link sealed}. */
function unsealed(text: string): Description | undefined {
  const [content = "", digest] = text.split("\n");
  if (createHash("sha256").update(content).digest("hex") !== digest) return undefined;
  const description = JSON.parse(content) as Description;
  return description.format === LATENT_FORMAT ? description : undefined;
}

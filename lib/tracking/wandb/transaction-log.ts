import { type FileHandle, open } from "node:fs/promises";
import { crc32 } from "../../files/crc32.js";
import type { Encoded } from "../protobuf.js";

/** `:W&B`, a magic number, and version 0. */
const FILE_HEADER = Buffer.from("3a572642e1be00", "hex");
const BLOCK = 32_768;
const CHUNK_HEADER = 7;
const FULL = 1;
const FIRST = 2;
const MIDDLE = 3;
const LAST = 4;

/**
 * A run's `.wandb` file, for `wandb sync`: records in LevelDB's log format
 * (https://github.com/google/leveldb/blob/main/doc/log_format.md) with zlib's checksum, in blocks that no chunk
 * crosses.
 */
export class TransactionLog {
  readonly #file: FileHandle;
  #size = 0;

  private constructor(file: FileHandle) {
    this.#file = file;
  }

  /** @param path of a file that must not exist yet */
  static async create(path: string): Promise<TransactionLog> {
    const log = new TransactionLog(await open(path, "ax"));
    await log.#append([FILE_HEADER]);
    return log;
  }

  /** Appends records by a single write. If it fails, the file is truncated to its previous end. */
  async write(records: readonly Encoded[]): Promise<void> {
    const pieces: Uint8Array[] = [];
    let size = this.#size;
    for (const record of records)
      for (const piece of chunks(record, size)) {
        pieces.push(piece);
        size += piece.length;
      }
    await this.#append(pieces);
  }

  async close(): Promise<void> {
    await this.#file.close();
  }

  async #append(pieces: readonly Uint8Array[]): Promise<void> {
    const bytes = Buffer.concat(pieces);
    try {
      await this.#file.writeFile(bytes);
    } catch (error) {
      await this.#file.truncate(this.#size).catch(() => {});
      throw error;
    }
    this.#size += bytes.length;
  }
}

/** Splits a record into chunks, with padding where a chunk's header does not fit into a block. */
function* chunks(record: Encoded, position: number): Generator<Uint8Array> {
  let room = BLOCK - (position % BLOCK);
  if (room < CHUNK_HEADER) {
    yield new Uint8Array(room);
    room = BLOCK;
  }
  for (let rest = record, first = true; ; first = false) {
    const data = rest.subarray(0, room - CHUNK_HEADER);
    rest = rest.subarray(data.length);
    const last = rest.length === 0;
    yield chunk(first ? (last ? FULL : FIRST) : last ? LAST : MIDDLE, data);
    if (last) return;
    room = BLOCK;
  }
}

function chunk(type: number, data: Uint8Array): Uint8Array {
  const header = Buffer.alloc(CHUNK_HEADER);
  header.writeUInt32LE(crc32(data, crc32(Uint8Array.of(type), 0)));
  header.writeUInt16LE(data.length, 4);
  header.writeUInt8(type, 6);
  return Buffer.concat([header, data]);
}

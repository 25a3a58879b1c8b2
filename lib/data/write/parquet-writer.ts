import { mkdir, rename } from "node:fs/promises";
import { join } from "node:path";
import type { EditRow, EditWriter } from "./edit-writer.js";
import { ParquetShard } from "./parquet-shard.js";

/** As the `datasets` library does for images, so that reading one row does not read many. */
const ROWS_PER_GROUP = 100;
/** Bytes of images that are held in memory before they are written, where a hundred rows have more. */
const GROUP_BYTES = 64e6;
/** Bytes after which a new file begins, as on the hub. */
const SHARD_BYTES = 500e6;

/**
 * Writes parquet files as the hub stores data sets of images: `data/train-00000-of-00001.parquet` and so on. Holds a
 * hundred rows at a time, or 64 MB of images.
 */
export class ParquetEditWriter implements EditWriter {
  readonly #folder: string;
  readonly #shardBytes: number;
  /** Temporary files: the final names contain the number of shards. */
  readonly #finished: string[] = [];
  #shard: ParquetShard | undefined;
  #waiting: EditRow[] = [];
  #waitingBytes = 0;
  #rows = 0;

  private constructor(folder: string, shardBytes: number) {
    this.#folder = folder;
    this.#shardBytes = shardBytes;
  }

  /** @param shardBytes bytes after which a new file begins; default 500 MB */
  static async create(folder: string, shardBytes = SHARD_BYTES): Promise<ParquetEditWriter> {
    const data = join(folder, "data");
    await mkdir(data);
    return new ParquetEditWriter(data, shardBytes);
  }

  async write(row: EditRow): Promise<void> {
    this.#waiting.push(row);
    this.#waitingBytes += row.before.length + row.after.length;
    if (this.#waiting.length === ROWS_PER_GROUP || this.#waitingBytes >= GROUP_BYTES) await this.#writeGroup();
  }

  async finish(): Promise<void> {
    await this.#writeGroup();
    await this.#finishShard();
    const number = (n: number) => String(n).padStart(5, "0");
    const count = number(this.#finished.length);
    for (const [i, path] of this.#finished.entries())
      await rename(path, join(this.#folder, `train-${number(i)}-of-${count}.parquet`));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#shard?.[Symbol.asyncDispose]();
  }

  async #writeGroup(): Promise<void> {
    const rows = this.#waiting;
    if (rows.length === 0) return;
    this.#waiting = [];
    this.#waitingBytes = 0;
    this.#shard ??= await ParquetShard.create(
      join(this.#folder, `${this.#finished.length}`),
      Object.keys(rows[0]!.texts),
    );
    await this.#shard.write(rows, this.#rows);
    this.#rows += rows.length;
    if (this.#shard.bytes >= this.#shardBytes) await this.#finishShard();
  }

  async #finishShard(): Promise<void> {
    if (!this.#shard) return;
    await this.#shard.finish();
    this.#finished.push(this.#shard.path);
    this.#shard = undefined;
  }
}

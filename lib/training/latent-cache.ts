import { createHash } from "node:crypto";
import { mkdir, readdir, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { InstructPix2PixError, isInstructPix2PixError } from "../core/errors.js";
import { Tensor } from "../core/tensor.js";
import type { EditDataset, Loader } from "../data/index.js";
import { ioError } from "../files/io-error.js";
import { withLock } from "../files/lock.js";
import type { ImageSize } from "../images/pixels.js";
import { native } from "../runtime/native.js";
import { encodeRows, type RowEncoding } from "./latent-encoding.js";
import { LATENT_FORMAT, product, RecordReader, RecordWriter } from "./latent-records.js";
import type { BatchEncoder } from "./recipes/edit/encoder.js";
import type { EncodedBatch, TextRows } from "./recipes/edit/micro-batch.js";
import type { EditModels } from "./recipes/edit/models.js";

/** Rows that have images of one size, and records of one length. */
export interface BucketRows {
  size: ImageSize;
  /** Rows of the data set, ascending. */
  rows: readonly number[];
}

/** Further dependencies of the records besides data set and models. */
export interface CacheSettings {
  resolution: number;
  /** Which rows the cache is of. Default all, as squares of the resolution. */
  bucket?: BucketRows | undefined;
  /** Whether the log variance of the original images' latents is kept too. */
  samplesOriginals: boolean;
  batchSize: number;
  mirrored: boolean;
  /** As in the loader: whether rows with empty prompts are used. */
  emptyPrompts: "keep" | "skip";
  /** As in the loader: with it, a cache with skipped rows is not used. */
  strict: boolean;
}

export interface CacheHooks {
  onProgress(done: number, total: number): void;
  warn(message: string): void;
}

/** Latents and prompt embeddings that were encoded once. */
export interface CachedLatents {
  /** Rows that have none, since they are unusable. */
  readonly unusableRows: number;
  /** See {@link LatentCache.read}. */
  read(rows: readonly number[], flips: readonly boolean[], signal?: AbortSignal): Promise<EncodedBatch | undefined>;
  close(): Promise<void>;
}

/** Latents and prompt embeddings of a whole data set, or of a bucket of it, encoded once and read row by row. */
export class LatentCache implements CachedLatents {
  readonly #records: RecordReader;
  readonly #rows: CacheRows;
  readonly #models: EditModels;
  readonly #encoding: RowEncoding;
  readonly #warn: CacheHooks["warn"];

  private constructor(
    records: RecordReader,
    rows: CacheRows,
    models: EditModels,
    encoding: RowEncoding,
    warn: CacheHooks["warn"],
  ) {
    this.#records = records;
    this.#rows = rows;
    this.#models = models;
    this.#encoding = encoding;
    this.#warn = warn;
  }

  /**
   * Opens the cache for this data set and these frozen models, encoding it if it is missing, or damaged as a whole. Its
   * key is a hash of the content: another image, resolution, autoencoder or text encoder gives another cache. Of
   * several runs that need the same cache, one creates it and the others wait.
   *
   * Records are verified when they are read, not here, which would read all of the file before the first step.
   *
   * @throws `ERR_IO`, `ERR_ABORTED`, and what encoding throws
   */
  static async open(
    parent: string,
    parts: { dataset: EditDataset; loader: Loader; encoder: BatchEncoder; models: EditModels },
    settings: CacheSettings,
    hooks: CacheHooks,
    signal: AbortSignal | undefined,
  ): Promise<LatentCache> {
    const key = await contentKey(parts.dataset, parts.models, settings);
    const name = `latents-${key.slice(0, 16)}`;
    const folder = join(parent, name);
    const onWait = (holder: string) =>
      hooks.warn(`waiting for ${holder}, which encodes the same images into ${folder}`);
    const { loader, encoder, models, dataset } = parts;
    const encoding: RowEncoding = { loader, encoder, mirrored: settings.mirrored };
    const rows = settings.bucket ? rowsOfBucket(settings.bucket) : allRows(dataset.length);
    const existing = async () => {
      const found = await RecordReader.open(folder, key);
      if (!(found instanceof RecordReader)) return found;
      const { usable } = found.description;
      if (usable.length === rows.length && !(settings.strict && usable.includes("0")))
        return new LatentCache(found, rows, models, encoding, hooks.warn);
      await found.close();
      return undefined;
    };
    try {
      const found = await existing();
      if (found instanceof LatentCache) return found;
      return await withLock(join(parent, `${name}.lock`), { signal, onWait }, async () => {
        const found = await existing();
        if (found instanceof LatentCache) return found;
        if (found !== undefined) hooks.warn(`the latent cache ${folder} is rebuilt: ${found}`);
        const { batchSize } = settings;
        await replaceCache(folder, (partial) =>
          build(partial, key, { rows, encoding }, batchSize, hooks.onProgress, signal),
        );
        const made = await existing();
        if (made instanceof LatentCache) return made;
        throw new InstructPix2PixError("ERR_IO", `cannot read the latent cache "${folder}": ${made ?? "it is gone"}`);
      });
    } catch (error) {
      throw ioError("make the latent cache", folder, error);
    }
  }

  get unusableRows(): number {
    return [...this.#records.description.usable].filter((flag) => flag === "0").length;
  }

  /**
   * The cached result of encoding these rows; undefined if none is usable. A damaged record is encoded anew, with a
   * warning.
   *
   * @throws `ERR_IO` naming a row whose record is damaged and whose images are no longer there; `ERR_ABORTED`
   */
  async read(
    rows: readonly number[],
    flips: readonly boolean[],
    signal?: AbortSignal,
  ): Promise<EncodedBatch | undefined> {
    const kept = rows
      .map((row, i) => ({ record: this.#rows.recordOf(row), flip: flips[i]! }))
      .filter(({ record }) => this.#records.description.usable[record] === "1");
    if (kept.length === 0) return undefined;
    const { latents, perPair, text, mirrorings } = this.#records.description;
    const latentSize = product(latents);
    const names = Object.keys(text) as (keyof TextRows)[];
    const stacked = Array.from({ length: perPair }, () => new Float32Array(kept.length * latentSize));
    const texts = names.map((name) => new Float32Array(kept.length * product(text[name]!)));
    for (const [i, { record, flip }] of kept.entries()) {
      const found = await this.#records.read(record);
      const values = typeof found === "string" ? await this.#mend(record, found, signal) : found;
      let start = flip && mirrorings === 2 ? perPair * latentSize : 0;
      for (const target of stacked) {
        target.set(values.subarray(start, start + latentSize), i * latentSize);
        start += latentSize;
      }
      start = mirrorings * perPair * latentSize;
      for (const target of texts) {
        const size = target.length / kept.length;
        target.set(values.subarray(start, start + size), i * size);
        start += size;
      }
    }
    const [mean, logvar, original, ofOriginal] = await Promise.all(
      stacked.map((values) => this.#latents(values, [kept.length, ...latents])),
    );
    const encoded: Partial<Record<keyof TextRows, Tensor>> = {};
    for (const [i, name] of names.entries())
      encoded[name] = await this.#text(name, texts[i]!, [kept.length, ...text[name]!]);
    return {
      edited: { mean: mean!, logvar: logvar! },
      original: { mean: original!, ...(ofOriginal && { logvar: ofOriginal }) },
      text: encoded,
    };
  }

  /**
   * Encodes a damaged record anew, in the batch in which it was encoded first, so that it gets the same bits, and with
   * it what else is damaged of that batch.
   */
  async #mend(damaged: number, damage: string, signal: AbortSignal | undefined): Promise<Float32Array> {
    const { batchSize, usable } = this.#records.description;
    const first = damaged - (damaged % batchSize);
    const records = rangeOf(first, Math.min(first + batchSize, usable.length));
    const rows = records.filter((record) => usable[record] === "1").map(this.#rows.at);
    this.#warn(`${damage}; they are encoded anew`);
    let mended: Float32Array | undefined;
    for await (const encoded of encodeRows(this.#encoding, [{ rows }], signal))
      for (const [i, row] of encoded.usable.entries()) {
        const values = encoded.records[i]!;
        const record = this.#rows.recordOf(row);
        if (record === damaged) mended = values;
        if (record === damaged || typeof (await this.#records.read(record)) === "string")
          await this.#replace(record, values);
      }
    if (mended) return mended;
    throw new InstructPix2PixError("ERR_IO", `${damage}, and its images cannot be read any more`);
  }

  /** A cache that cannot be written to serves on. */
  async #replace(record: number, values: Float32Array): Promise<void> {
    try {
      await this.#records.replace(record, values);
    } catch (error) {
      if (!isInstructPix2PixError(error, "ERR_IO")) throw error;
      this.#warn(`${error.message}; row ${this.#rows.at(record)} is encoded whenever it is needed`);
    }
  }

  async #text(name: keyof TextRows, values: Float32Array, shape: number[]): Promise<Tensor> {
    // float32 represents every token id exactly.
    return name === "inputIds" || name === "inputIds2"
      ? Tensor.from(BigInt64Array.from(values, BigInt), shape)
      : await placed(Tensor.from(values, shape), this.#models);
  }

  async #latents(values: Float32Array, shape: number[]): Promise<Tensor> {
    const { device, autoencoder } = this.#models;
    const tensor = await placed(Tensor.from(values, shape), { device, dtype: autoencoder.dtype });
    // A single row is contiguous, whatever the layout of larger batches.
    if (!this.#records.description.channelsLast || shape[0] === 1) return tensor;
    using contiguous = tensor;
    return new Tensor(await native().toChannelsLast(contiguous.handle));
  }

  close(): Promise<void> {
    return this.#records.close();
  }
}

/** Which rows of the data set have the records of a cache, in order. */
interface CacheRows {
  readonly length: number;
  /** The row of a record. */
  at(record: number): number;
  recordOf(row: number): number;
}

function allRows(length: number): CacheRows {
  const same = (index: number) => index;
  return { length, at: same, recordOf: same };
}

function rowsOfBucket({ rows }: BucketRows): CacheRows {
  const records = new Map(rows.map((row, record) => [row, record]));
  return { length: rows.length, at: (record) => rows[record]!, recordOf: (row) => records.get(row)! };
}

async function placed(tensor: Tensor, { device, dtype }: Pick<EditModels, "device" | "dtype">): Promise<Tensor> {
  using source = tensor;
  return await source.to({ device, dtype });
}

/** Replaces a cache by what `make` writes into an empty folder. */
async function replaceCache(folder: string, make: (partial: string) => Promise<void>): Promise<void> {
  // Removes leftovers of killed runs.
  for (const entry of await readdir(dirname(folder)))
    if (entry.startsWith(`${basename(folder)}.`) && entry.endsWith(".tmp"))
      await rm(join(dirname(folder), entry), { recursive: true });
  const partial = `${folder}.${process.pid}.tmp`;
  await mkdir(partial);
  try {
    await make(partial);
    await rm(folder, { recursive: true, force: true });
    await rename(partial, folder);
  } finally {
    await rm(partial, { recursive: true, force: true }).catch(() => {});
  }
}

async function build(
  folder: string,
  key: string,
  { rows, encoding }: { rows: CacheRows; encoding: RowEncoding },
  batchSize: number,
  onProgress: CacheHooks["onProgress"],
  signal: AbortSignal | undefined,
): Promise<void> {
  const writer = await RecordWriter.create(folder, { key, rows: rows.length, batchSize });
  try {
    for await (const encoded of encodeRows(encoding, inBatches(rows, batchSize), signal)) {
      for (const [i, row] of encoded.usable.entries())
        await writer.write(rows.recordOf(row), encoded.records[i]!, encoded.layout!);
      onProgress(rows.recordOf(encoded.rows.at(-1)!) + 1, rows.length);
    }
    await writer.finish();
  } finally {
    await writer.close();
  }
}

function* inBatches({ length, at }: CacheRows, batchSize: number): Generator<{ rows: number[] }> {
  for (let first = 0; first < length; first += batchSize)
    yield { rows: rangeOf(first, Math.min(first + batchSize, length)).map(at) };
}

function rangeOf(start: number, end: number): number[] {
  return Array.from({ length: end - start }, (_, i) => start + i);
}

async function contentKey(dataset: EditDataset, models: EditModels, settings: CacheSettings): Promise<string> {
  const hash = createHash("sha256");
  const { resolution, mirrored, samplesOriginals, emptyPrompts, bucket } = settings;
  const about = { format: LATENT_FORMAT, data: dataset.stamp };
  const dtypes = [models.autoencoder.dtype, models.dtype];
  const trainTextEncoder = Object.keys(models.textEncoders).length > 0;
  hash.update(
    JSON.stringify({ ...about, resolution, mirrored, samplesOriginals, trainTextEncoder, emptyPrompts, dtypes }),
  );
  if (bucket) hash.update(`\nbucket ${JSON.stringify(bucket)}`);
  for (const line of await models.contents()) hash.update(`\n${line}`);
  return hash.digest("hex");
}

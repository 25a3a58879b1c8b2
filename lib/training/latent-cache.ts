import { createHash } from "node:crypto";
import { mkdir, readdir, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { InstructPix2PixError, throwIfAborted } from "../core/errors.js";
import { Scope } from "../core/scope.js";
import { Tensor } from "../core/tensor.js";
import type { EditDataset, Loader } from "../data/index.js";
import { ioError } from "../files/io-error.js";
import { listFiles } from "../files/list-files.js";
import { withLock } from "../files/lock.js";
import { sha256OfFiles } from "../files/sha256.js";
import { STABLE_DIFFUSION_SLOTS } from "../pipelines/components.js";
import { native } from "../runtime/native.js";
import { LATENT_FORMAT, type Layout, product, RecordReader, RecordWriter } from "./latent-records.js";
import type { BaseModel } from "./recipes/instruct_pix2pix/base-model.js";
import { type BatchEncoder, disposeEncoded } from "./recipes/instruct_pix2pix/encoder.js";
import type { EncodedBatch } from "./recipes/instruct_pix2pix/micro-batch.js";

/** Further dependencies of the records besides data set and models. */
export interface CacheSettings {
  resolution: number;
  trainTextEncoder: boolean;
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

/** Latents and prompt embeddings of a whole data set, encoded once and read row by row. */
export class LatentCache {
  readonly #records: RecordReader;
  readonly #base: BaseModel;

  private constructor(records: RecordReader, base: BaseModel) {
    this.#records = records;
    this.#base = base;
  }

  /**
   * Opens the cache for this data set and these frozen models, encoding it if it is missing or damaged. Its key is a
   * hash of the content: another picture, resolution, autoencoder or text encoder gives another cache. Of several runs
   * that need the same cache, one creates it and the others wait.
   *
   * @throws `ERR_IO`, `ERR_ABORTED`, and what encoding throws
   */
  static async open(
    parent: string,
    parts: { dataset: EditDataset; loader: Loader; encoder: BatchEncoder; base: BaseModel },
    settings: CacheSettings,
    hooks: CacheHooks,
    signal: AbortSignal | undefined,
  ): Promise<LatentCache> {
    const key = await contentKey(parts.dataset, parts.base, settings);
    const name = `latents-${key.slice(0, 16)}`;
    const folder = join(parent, name);
    const onWait = (holder: string) =>
      hooks.warn(`waiting for ${holder}, which encodes the same pictures into ${folder}`);
    const existing = async () => {
      const found = await RecordReader.open(folder, key);
      if (!(found instanceof RecordReader)) return found;
      const { usable } = found.description;
      if (usable.length === parts.dataset.length && !(settings.strict && usable.includes("0")))
        return new LatentCache(found, parts.base);
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
        await replaceCache(folder, (partial) => build(partial, key, parts, settings, hooks.onProgress, signal));
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
   * The cached result of encoding these rows; undefined if none is usable.
   *
   * @throws `ERR_IO` naming a row whose record is damaged
   */
  async read(rows: readonly number[], flips: readonly boolean[]): Promise<EncodedBatch | undefined> {
    const kept = rows
      .map((row, i) => ({ row, flip: flips[i]! }))
      .filter(({ row }) => this.#records.description.usable[row] === "1");
    if (kept.length === 0) return undefined;
    const { latents, text, mirrorings } = this.#records.description;
    const [latentSize, textSize] = [product(latents), product(text)];
    const textStart = mirrorings * 3 * latentSize;
    const stacked = [0, 1, 2].map(() => new Float32Array(kept.length * latentSize));
    const texts = new Float32Array(kept.length * textSize);
    for (const [i, { row, flip }] of kept.entries()) {
      const record = await this.#records.read(row);
      const first = flip && mirrorings === 2 ? 3 * latentSize : 0;
      for (const [j, target] of stacked.entries()) {
        const start = first + j * latentSize;
        target.set(record.subarray(start, start + latentSize), i * latentSize);
      }
      texts.set(record.subarray(textStart), i * textSize);
    }
    const [mean, logvar, original] = await Promise.all(
      stacked.map((values) => this.#latents(values, [kept.length, ...latents])),
    );
    return {
      edited: { mean: mean!, logvar: logvar! },
      original: original!,
      text: await this.#text(texts, [kept.length, ...text]),
    };
  }

  async #text(values: Float32Array, shape: number[]): Promise<Tensor> {
    // float32 represents every token id exactly.
    return shape.length === 2
      ? Tensor.from(BigInt64Array.from(values, BigInt), shape)
      : await placed(Tensor.from(values, shape), this.#base);
  }

  async #latents(values: Float32Array, shape: number[]): Promise<Tensor> {
    const tensor = await placed(Tensor.from(values, shape), this.#base);
    // A single row is contiguous, whatever the layout of larger batches.
    if (!this.#records.description.channelsLast || shape[0] === 1) return tensor;
    using contiguous = tensor;
    return new Tensor(await native().toChannelsLast(contiguous.handle));
  }

  close(): Promise<void> {
    return this.#records.close();
  }
}

async function placed(tensor: Tensor, { vae: { device, dtype } }: BaseModel): Promise<Tensor> {
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
  { dataset, loader, encoder }: { dataset: EditDataset; loader: Loader; encoder: BatchEncoder },
  { batchSize, mirrored }: CacheSettings,
  onProgress: CacheHooks["onProgress"],
  signal: AbortSignal | undefined,
): Promise<void> {
  let layout: Layout | undefined;
  const writer = await RecordWriter.create(folder, key, dataset.length);
  try {
    for await (const batch of loader.prefetched(rowsInOrder(dataset.length, batchSize))) {
      throwIfAborted(signal);
      const encoded: EncodedBatch[] = [];
      try {
        for (const flip of batch.indices.length === 0 ? [] : mirrored ? [false, true] : [false]) {
          const flips = batch.indices.map(() => flip);
          encoded.push(await encoder.encode(batch, flips, signal));
        }
        if (encoded.length > 0) {
          layout ??= await layoutOf(encoded);
          const records = await recordsOf(encoded, layout);
          for (const [i, row] of batch.indices.entries()) await writer.write(row, records[i]!, layout);
        }
      } finally {
        for (const one of encoded) disposeEncoded(one);
      }
      onProgress(batch.request.rows.at(-1)! + 1, dataset.length);
    }
    await writer.finish();
  } finally {
    await writer.close();
  }
}

function* rowsInOrder(length: number, batchSize: number): Generator<{ rows: number[] }> {
  for (let first = 0; first < length; first += batchSize)
    yield { rows: Array.from({ length: Math.min(batchSize, length - first) }, (_, i) => first + i) };
}

async function layoutOf(encoded: readonly EncodedBatch[]): Promise<Layout> {
  const { edited, text } = encoded[0]!;
  return {
    latents: edited.mean.shape.slice(1) as [number, number, number],
    text: text.shape.slice(1),
    mirrorings: encoded.length,
    channelsLast: await native().isChannelsLast(edited.mean.handle),
  };
}

/** The values of each row's record. */
async function recordsOf(encoded: readonly EncodedBatch[], layout: Layout): Promise<Float32Array[]> {
  using scope = new Scope();
  const float = async (tensor: Tensor) =>
    (await scope.add(await tensor.to({ dtype: "float32" })).toArray()) as Float32Array;
  const latents: Float32Array[] = [];
  for (const { edited, original } of encoded)
    for (const tensor of [edited.mean, edited.logvar, original]) latents.push(await float(tensor));
  const text = await float(encoded[0]!.text);
  const [latentSize, textSize] = [product(layout.latents), product(layout.text)];
  return Array.from({ length: text.length / textSize }, (_, row) => {
    const record = new Float32Array(latents.length * latentSize + textSize);
    for (const [j, values] of latents.entries())
      record.set(values.subarray(row * latentSize, (row + 1) * latentSize), j * latentSize);
    record.set(text.subarray(row * textSize, (row + 1) * textSize), latents.length * latentSize);
    return record;
  });
}

async function contentKey(
  dataset: EditDataset,
  { folder, vae, textEncoder }: BaseModel,
  settings: CacheSettings,
): Promise<string> {
  const hash = createHash("sha256");
  const { resolution, mirrored, trainTextEncoder, emptyPrompts } = settings;
  const about = { format: LATENT_FORMAT, data: dataset.stamp };
  const dtypes = [vae.dtype, textEncoder.dtype];
  hash.update(JSON.stringify({ ...about, resolution, mirrored, trainTextEncoder, emptyPrompts, dtypes }));
  const slots = STABLE_DIFFUSION_SLOTS;
  const encoders = trainTextEncoder ? [slots.vae] : [slots.vae, slots.textEncoder];
  for (const { folder: part } of [...encoders, slots.tokenizer]) {
    const files = (await listFiles(join(folder, part))).filter((name) => /\.(json|txt|safetensors)$/.test(name));
    const digests = await sha256OfFiles(files.map((name) => join(folder, part, name)));
    for (const [i, name] of files.entries()) hash.update(`\n${part}/${name} ${JSON.stringify(digests[i])}`);
  }
  return hash.digest("hex");
}

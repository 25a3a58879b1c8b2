import { createHash } from "node:crypto";
import { type FileHandle, mkdir, open, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { EditDataset, Loader } from "../data/index.js";
import { throwIfAborted } from "../errors.js";
import { native } from "../native/native.js";
import { Scope } from "../scope.js";
import { Tensor } from "../tensor.js";
import type { BaseModel } from "./base_model.js";
import { sha256OfFiles } from "./checkpoint/sha256.js";
import { type BatchEncoder, disposeEncoded } from "./encoder.js";
import { listFiles } from "./list_files.js";
import type { EncodedBatch } from "./micro_batch.js";

/** Version of the layout below. */
const FORMAT = 1;
const RECORDS = "records.bin";
const DESCRIPTION = "cache.json";

/** What every record holds, in this order, as float32: for each mirroring the three latents, then the text. */
interface Layout {
  /** [C,h,w] of one row's latents. */
  latents: [number, number, number];
  /** [T,D] of one row's text embedding, or [T] of its token ids. */
  text: number[];
  /** 1, or 2 where pairs are mirrored. */
  mirrorings: number;
  /** How the autoencoder lays out the latents of several rows, which noise drawn "like" them depends on. */
  channelsLast: boolean;
}

interface Description extends Layout {
  format: number;
  key: string;
  /** "1" for every row that can be used, "0" for the others. */
  usable: string;
}

/** Latents and text embeddings of a whole data set, encoded once and read row by row. */
export class LatentCache {
  readonly #file: FileHandle;
  readonly #description: Description;
  readonly #base: BaseModel;

  private constructor(file: FileHandle, description: Description, base: BaseModel) {
    this.#file = file;
    this.#description = description;
    this.#base = base;
  }

  /**
   * Opens the cache that belongs to this data set and these frozen models, making it where there is none. It is found by
   * its content: another picture, resolution, autoencoder or text encoder makes another cache.
   */
  static async open(
    parent: string,
    parts: { dataset: EditDataset; loader: Loader; encoder: BatchEncoder; base: BaseModel },
    settings: { resolution: number; trainTextEncoder: boolean; batchSize: number; mirrored: boolean },
    onProgress: (done: number, total: number) => void,
    signal: AbortSignal | undefined,
  ): Promise<LatentCache> {
    const key = await contentKey(parts.dataset, parts.base, settings);
    const folder = join(parent, `latents-${key.slice(0, 16)}`);
    let description = await readDescription(folder, key);
    if (!description) {
      const partial = `${folder}.${process.pid}.tmp`;
      await rm(partial, { recursive: true, force: true });
      await mkdir(partial, { recursive: true });
      try {
        description = await build(partial, key, parts, settings, onProgress, signal);
        await rm(folder, { recursive: true, force: true });
        await rename(partial, folder);
      } finally {
        await rm(partial, { recursive: true, force: true });
      }
    }
    return new LatentCache(await open(join(folder, RECORDS), "r"), description, parts.base);
  }

  get unusableRows(): number {
    return [...this.#description.usable].filter((flag) => flag === "0").length;
  }

  /** What encoding these rows would give; undefined if none of them can be used. */
  async read(rows: readonly number[], flips: readonly boolean[]): Promise<EncodedBatch | undefined> {
    const kept = rows
      .map((row, i) => ({ row, flip: flips[i]! }))
      .filter(({ row }) => this.#description.usable[row] === "1");
    if (kept.length === 0) return undefined;
    const { latents, text, mirrorings } = this.#description;
    const [latentSize, textSize] = [product(latents), product(text)];
    const recordSize = mirrorings * 3 * latentSize + textSize;
    const stacked = [0, 1, 2].map(() => new Float32Array(kept.length * latentSize));
    const texts = new Float32Array(kept.length * textSize);
    const record = new Float32Array(recordSize);
    const bytes = new Uint8Array(record.buffer);
    for (const [i, { row, flip }] of kept.entries()) {
      await this.#file.read(bytes, 0, bytes.length, row * bytes.length);
      const first = flip && mirrorings === 2 ? 3 * latentSize : 0;
      for (const [j, target] of stacked.entries()) {
        const start = first + j * latentSize;
        target.set(record.subarray(start, start + latentSize), i * latentSize);
      }
      texts.set(record.subarray(recordSize - textSize), i * textSize);
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
    // float32 holds every id of a vocabulary exactly.
    return shape.length === 2
      ? Tensor.from(BigInt64Array.from(values, BigInt), shape)
      : await placed(Tensor.from(values, shape), this.#base);
  }

  async #latents(values: Float32Array, shape: number[]): Promise<Tensor> {
    const tensor = await placed(Tensor.from(values, shape), this.#base);
    // A single row is laid out plainly whatever the autoencoder does with more of them.
    if (!this.#description.channelsLast || shape[0] === 1) return tensor;
    using contiguous = tensor;
    return new Tensor(await native().toChannelsLast(contiguous.handle));
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}

async function placed(tensor: Tensor, { vae: { device, dtype } }: BaseModel): Promise<Tensor> {
  using source = tensor;
  return await source.to({ device, dtype });
}

async function build(
  folder: string,
  key: string,
  { dataset, loader, encoder }: { dataset: EditDataset; loader: Loader; encoder: BatchEncoder },
  { batchSize, mirrored }: { batchSize: number; mirrored: boolean },
  onProgress: (done: number, total: number) => void,
  signal: AbortSignal | undefined,
): Promise<Description> {
  const usable = Array<string>(dataset.length).fill("0");
  let layout: Layout | undefined;
  const file = await open(join(folder, RECORDS), "w");
  try {
    for await (const batch of loader.prefetched(rowsInOrder(dataset.length, batchSize))) {
      throwIfAborted(signal);
      if (batch.indices.length > 0) {
        const encoded: EncodedBatch[] = [];
        for (const flip of mirrored ? [false, true] : [false])
          encoded.push(
            await encoder.encode(
              batch,
              batch.indices.map(() => flip),
              signal,
            ),
          );
        layout ??= await layoutOf(encoded);
        const records = await recordsOf(encoded, layout);
        for (const [i, row] of batch.indices.entries()) {
          const record = records[i]!;
          await file.write(record, 0, record.length, row * record.length);
          usable[row] = "1";
        }
        for (const one of encoded) disposeEncoded(one);
      }
      onProgress(batch.request.rows.at(-1)! + 1, dataset.length);
    }
    await file.sync();
  } finally {
    await file.close();
  }
  // The loader refuses a data set of which no row can be used, so there is a layout.
  const description: Description = { format: FORMAT, key, ...layout!, usable: usable.join("") };
  await writeFile(join(folder, DESCRIPTION), JSON.stringify(description));
  return description;
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

/** The bytes of each row's record. */
async function recordsOf(encoded: readonly EncodedBatch[], layout: Layout): Promise<Uint8Array[]> {
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
    return new Uint8Array(record.buffer);
  });
}

async function contentKey(
  dataset: EditDataset,
  { folder, vae, textEncoder }: BaseModel,
  settings: { resolution: number; trainTextEncoder: boolean; mirrored: boolean },
): Promise<string> {
  const hash = createHash("sha256");
  const { resolution, mirrored, trainTextEncoder } = settings;
  const dtypes = [vae.dtype, textEncoder.dtype];
  hash.update(JSON.stringify({ FORMAT, data: dataset.stamp, resolution, mirrored, trainTextEncoder, dtypes }));
  for (const part of trainTextEncoder ? ["vae", "tokenizer"] : ["vae", "text_encoder", "tokenizer"]) {
    const files = (await listFiles(join(folder, part))).filter((name) => /\.(json|txt|safetensors)$/.test(name));
    const digests = await sha256OfFiles(files.map((name) => join(folder, part, name)));
    for (const [i, name] of files.entries()) hash.update(`\n${part}/${name} ${JSON.stringify(digests[i])}`);
  }
  return hash.digest("hex");
}

async function readDescription(folder: string, key: string): Promise<Description | undefined> {
  let text: string;
  try {
    text = await readFile(join(folder, DESCRIPTION), "utf8");
  } catch {
    return undefined;
  }
  try {
    const description = JSON.parse(text) as Description;
    return description.format === FORMAT && description.key === key ? description : undefined;
  } catch {
    return undefined;
  }
}

function product(sizes: readonly number[]): number {
  return sizes.reduce((all, size) => all * size, 1);
}

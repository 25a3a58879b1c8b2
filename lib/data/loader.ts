import { InstructPix2PixError, throwIfAborted } from "../core/errors.js";
import { logWarning } from "../core/logger.js";
import { Semaphore } from "../core/semaphore.js";
import { fitAround } from "../images/fit.js";
import { loadImage } from "../images/index.js";
import type { ImageSize } from "../images/pixels.js";
import type { EditDataset, StoredPicture } from "./dataset.js";
import { datasetError, isFaultOfRow } from "./errors.js";

/** A row that could not be used. */
export interface SkippedRow {
  /** Its index in the dataset. */
  readonly row: number;
  /** One line that names the row and says what is wrong with it. */
  readonly reason: string;
}

export interface LoaderOptions {
  /** Edge, in pixels, of the square that every image is resized to; the aspect ratio is not kept. */
  resolution: number;
  /**
   * The sizes of rows instead, which images are resized to cover, and cut down to in the middle. A batch has one size. Default
   * the square of the resolution for all.
   */
  sizeOf?: ((row: number) => ImageSize) | undefined;
  /** Rows that are read and decoded at a time; 0 means 1. Default 1. */
  workers?: number;
  /** Batches that are prepared ahead of the one in use, by {@link Loader.prefetched}. Default 2. */
  prefetch?: number;
  /** Whether an unusable row is an error instead of being skipped. Default false. */
  strict?: boolean;
  /** "keep" trains on empty prompts, as the reference does; a missing prompt is never usable. Default "skip". */
  emptyPrompts?: "skip" | "keep";
  signal?: AbortSignal | undefined;
  /** Called when a row is skipped for the first time; by default a process warning names the first of them. */
  onSkip?: (skipped: SkippedRow) => void;
}

/** Images and prompts of the usable rows of a batch, in batch order. */
export interface LoadedBatch {
  /** [B,H,W,3], interleaved RGB. */
  readonly originals: Uint8Array;
  /** [B,H,W,3], interleaved RGB. */
  readonly edited: Uint8Array;
  /** The size of every image, in pixels. */
  readonly size: ImageSize;
  readonly prompts: string[];
  /** The indices of these rows; empty if none is usable. */
  readonly indices: number[];
  /** Their positions in the requested list. */
  readonly positions: number[];
}

/** A prefetched batch. */
export interface PrefetchedBatch<T> extends LoadedBatch {
  /** The requested batch. */
  readonly request: T;
  /** How long the consumer had to wait for it. */
  readonly waitSeconds: number;
}

/** Prepares batches of a dataset without blocking the event loop. */
export interface Loader {
  /**
   * @param rows indices of rows
   * @throws `ERR_DATASET` naming an unusable row, if the loader is strict or if no row of the dataset is usable;
   * `ERR_ABORTED`
   */
  load(rows: readonly number[]): Promise<LoadedBatch>;
  /**
   * Loads batches in order, prefetching some. The source is read ahead as well, so random numbers that must be drawn at
   * the time of use have to be drawn by the consumer.
   *
   * @throws as {@link load}, when the failed batch is reached
   */
  prefetched<T extends { readonly rows: readonly number[] }>(
    requests: Iterable<T> | AsyncIterable<T>,
    options?: { ahead?: number },
  ): AsyncGenerator<PrefetchedBatch<T>, void, undefined>;
  /** Unusable rows so far, each counted once. */
  readonly skippedRows: number;
}

/** Skipped rows whose reason is given in a process warning; further ones are only counted. */
const ROWS_NAMED = 20;
/** Generous, so that no image is skipped because the machine is busy. */
const DECODE_TIMEOUT_MS = 600_000;

/**
 * A loader that decodes images of any format as the `datasets` library and diffusers' script do: rotated upright,
 * converted to RGB and resized to a square with Pillow's bicubic filter.
 *
 * @throws `ERR_INVALID_ARGUMENT`
 */
export function createLoader(dataset: EditDataset, options: LoaderOptions): Loader {
  return new DatasetLoader(dataset, options);
}

class DatasetLoader implements Loader {
  readonly #dataset: EditDataset;
  readonly #options: LoaderOptions;
  readonly #places: Semaphore;
  readonly #skipped = new Set<number>();

  constructor(dataset: EditDataset, options: LoaderOptions) {
    const atLeast = (name: string, value: number, least: number) => {
      if (!Number.isSafeInteger(value) || value < least)
        throw new InstructPix2PixError(
          "ERR_INVALID_ARGUMENT",
          `${name} is a whole number of at least ${least}, not ${value}`,
        );
    };
    atLeast("resolution", options.resolution, 1);
    atLeast("workers", options.workers ?? 1, 0);
    atLeast("prefetch", options.prefetch ?? 2, 0);
    this.#dataset = dataset;
    this.#options = options;
    this.#places = new Semaphore(Math.max(1, options.workers ?? 1));
  }

  get skippedRows(): number {
    return this.#skipped.size;
  }

  async load(rows: readonly number[]): Promise<LoadedBatch> {
    const { width, height } = this.#sizeOf(rows);
    const size = width * height * 3;
    const originals = new Uint8Array(rows.length * size);
    const edited = new Uint8Array(rows.length * size);
    // Waits for all rows before throwing, so that nothing of a failed batch is still running.
    const outcomes = await Promise.allSettled(
      rows.map((row, i) =>
        this.#places.run(() =>
          this.#loadRow(
            row,
            [originals, edited].map((all) => all.subarray(i * size, (i + 1) * size)),
            { width, height },
          ),
        ),
      ),
    );
    const prompts: string[] = [];
    const positions: number[] = [];
    for (const [i, outcome] of outcomes.entries()) {
      if (outcome.status === "rejected") throw outcome.reason;
      if (outcome.value === undefined) continue;
      for (const all of [originals, edited])
        if (positions.length < i) all.copyWithin(positions.length * size, i * size, (i + 1) * size);
      positions.push(i);
      prompts.push(outcome.value);
    }
    const used = positions.length * size;
    return {
      originals: originals.subarray(0, used),
      edited: edited.subarray(0, used),
      size: { width, height },
      prompts,
      indices: positions.map((i) => rows[i]!),
      positions,
    };
  }

  async *prefetched<T extends { readonly rows: readonly number[] }>(
    requests: Iterable<T> | AsyncIterable<T>,
    { ahead = this.#options.prefetch ?? 2 }: { ahead?: number } = {},
  ): AsyncGenerator<PrefetchedBatch<T>, void, undefined> {
    const source = iterate(requests);
    const pending: { request: T; batch: Promise<LoadedBatch> }[] = [];
    let ended = false;
    const fill = async (count: number) => {
      while (!ended && pending.length < count) {
        const { done, value } = await source.next();
        if (done) ended = true;
        else {
          const batch = this.load(value.rows);
          // The error is reported when the batch is consumed; until then it must not count as an unhandled rejection.
          batch.catch(() => {});
          pending.push({ request: value, batch });
        }
      }
    };
    let filling = Promise.resolve();
    try {
      for (;;) {
        const asked = performance.now();
        await filling;
        await fill(1);
        const first = pending.shift();
        if (first === undefined) return;
        // The next batches are started before this one is yielded, and load while the consumer is busy.
        filling = fill(ahead);
        filling.catch(() => {});
        const batch = await first.batch;
        yield { ...batch, request: first.request, waitSeconds: (performance.now() - asked) / 1000 };
      }
    } finally {
      await Promise.allSettled([filling, ...pending.map(({ batch }) => batch)]);
      await source.return?.();
    }
  }

  #sizeOf(rows: readonly number[]): ImageSize {
    const { resolution, sizeOf } = this.#options;
    const square = { width: resolution, height: resolution };
    if (!sizeOf || rows.length === 0) return square;
    const sizes = rows.map(sizeOf);
    const { width, height } = sizes[0]!;
    if (!sizes.every((size) => size.width === width && size.height === height))
      throw new RangeError(`the rows ${rows.join(", ")} have different sizes`);
    return { width, height };
  }

  /** Fills both images of a row; resolves to its prompt, or undefined if the row is skipped. */
  async #loadRow(row: number, [original, edited]: Uint8Array[], size: ImageSize): Promise<string | undefined> {
    throwIfAborted(this.#options.signal);
    try {
      const found = await this.#dataset.row(row);
      if (found.prompt === null) throw datasetError("has no prompt");
      if (found.prompt.trim() === "" && this.#options.emptyPrompts !== "keep")
        throw datasetError("has an empty prompt");
      await this.#loadPicture(found.original, original!, size);
      await this.#loadPicture(found.edited, edited!, size);
      return found.prompt;
    } catch (error) {
      if (!isFaultOfRow(error)) throw error;
      const reason = `${this.#dataset.describe(row)}: ${error.message}`;
      if (this.#options.strict) throw datasetError(reason, error);
      this.#skip(row, reason);
      return undefined;
    }
  }

  async #loadPicture(picture: StoredPicture, target: Uint8Array, { width, height }: ImageSize): Promise<void> {
    const { sizeOf, signal } = this.#options;
    const source = "path" in picture ? picture.path : picture.bytes;
    const image = await loadImage(source, { timeoutMs: DECODE_TIMEOUT_MS, ...(signal && { signal }) });
    const resized = sizeOf
      ? await fitAround({ ...image, form: "colour" }, width, height, "bicubic")
      : await image.resize(width, height, "bicubic");
    target.set(resized.data);
  }

  #skip(row: number, reason: string): void {
    if (this.#skipped.has(row)) return;
    this.#skipped.add(row);
    if (this.#skipped.size === this.#dataset.length)
      throw datasetError(`none of the ${this.#dataset.length} rows can be used; the last one: ${reason}`);
    const { onSkip = warnOfSkipped(this.#skipped.size) } = this.#options;
    onSkip({ row, reason });
  }
}

function warnOfSkipped(count: number): (skipped: SkippedRow) => void {
  return ({ reason }) => {
    if (count > ROWS_NAMED) return;
    const more = count === ROWS_NAMED ? "; further ones are only counted" : "";
    logWarning(`row skipped: ${reason}${more}`);
  };
}

function iterate<T>(items: Iterable<T> | AsyncIterable<T>): AsyncIterator<T> {
  if (Symbol.asyncIterator in items) return items[Symbol.asyncIterator]();
  const iterator = items[Symbol.iterator]();
  return {
    next: async () => iterator.next(),
    return: async () => iterator.return?.() ?? { done: true, value: undefined },
  };
}

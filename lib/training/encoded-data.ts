import type { Loader } from "../data/loader.js";
import type { EpochOrder, EpochOrderState, OrderedBatch } from "../data/permutation.js";
import type { Flips } from "./flips.js";
import type { CachedLatents } from "./latent-cache.js";
import type { BatchEncoder } from "./recipes/edit/encoder.js";
import { disposeEncoded, type EncodedBatch } from "./recipes/edit/micro-batch.js";

/** A batch for the training loop. */
export interface TrainingBatch {
  readonly epoch: number;
  /** Its rows of the data set. */
  readonly rows: readonly number[];
  /** Whether it is the last of its epoch. */
  readonly last: boolean;
  /** The position in the data after it. */
  readonly next: EpochOrderState;
  /** Time that the loop waited for its data. */
  readonly waitSeconds: number;
  /** Latents and prompt embeddings; undefined if no row was usable. */
  encode(signal?: AbortSignal): Promise<EncodedBatch | undefined>;
  /** Frees the result of `encode`. */
  release(encoded: EncodedBatch): void;
}

/** The encoded data set in training order. */
export interface EncodedData {
  /** The remaining batches of the current epoch. */
  epoch(signal?: AbortSignal): AsyncIterable<TrainingBatch>;
  /** Unusable rows so far. */
  readonly skippedRows: number;
  /** Stops prefetching. */
  close(): Promise<void>;
}

/**
 * Prefetches images across epochs, and encodes them when they are used.
 *
 * @param perEpoch does not prefetch across epochs, since the next order is drawn only after the current epoch
 */
export function encodeAsLoaded(
  order: EpochOrder,
  flips: Flips,
  loader: Loader,
  encoder: BatchEncoder,
  perEpoch: boolean,
): EncodedData {
  let stream: ReturnType<typeof loader.prefetched<OrderedBatch>> | undefined;
  return {
    get skippedRows() {
      return loader.skippedRows;
    },
    async *epoch() {
      if (perEpoch || !stream) {
        await order.begin();
        stream = loader.prefetched(perEpoch ? order.restOfEpoch() : order.batches());
      }
      await flips.beginEpoch(order.batchesPerEpoch);
      // Not "for await", which would close the stream at the end of the epoch.
      for (let next = await stream.next(); !next.done; next = await stream.next()) {
        const { request, waitSeconds, ...loaded } = next.value;
        const flags = await flips.of(request);
        yield {
          ...placeOf(request),
          waitSeconds,
          encode: async (signal?: AbortSignal) =>
            loaded.indices.length === 0
              ? undefined
              : encoder.encode(
                  loaded,
                  loaded.positions.map((position) => flags[position]!),
                  signal,
                ),
          release: disposeEncoded,
        };
        if (request.last) return;
      }
    },
    async close() {
      await stream?.return();
    },
  };
}

function placeOf({ epoch, rows, last, next }: OrderedBatch): Pick<TrainingBatch, "epoch" | "rows" | "last" | "next"> {
  return { epoch, rows, last, next };
}

/** Reads cached latents. */
export function readFromCache(order: EpochOrder, flips: Flips, cache: CachedLatents): EncodedData {
  return {
    get skippedRows() {
      return cache.unusableRows;
    },
    async *epoch() {
      await order.begin();
      await flips.beginEpoch(order.batchesPerEpoch);
      for await (const batch of order.restOfEpoch()) {
        const flags = await flips.of(batch);
        yield {
          ...placeOf(batch),
          waitSeconds: 0,
          encode: (signal) => cache.read(batch.rows, flags, signal),
          release: disposeEncoded,
        };
      }
    },
    close: () => cache.close(),
  };
}

import type { Loader } from "../data/loader.js";
import type { EpochOrder, EpochOrderState, OrderedBatch } from "../data/permutation.js";
import { type BatchEncoder, disposeEncoded } from "./encoder.js";
import type { Flips } from "./flips.js";
import type { LatentCache } from "./latent_cache.js";
import type { EncodedBatch } from "./micro_batch.js";

/** One batch as the loop takes it. */
export interface TrainingBatch {
  readonly epoch: number;
  /** Rows of the data set that it was made of. */
  readonly rows: readonly number[];
  /** Whether the epoch ends with it. */
  readonly last: boolean;
  /** Where the data go on after it. */
  readonly next: EpochOrderState;
  /** How long the loop waited for its data. */
  readonly waitSeconds: number;
  /** Latents and text embeddings; undefined if not one row could be used. */
  encode(signal?: AbortSignal): Promise<EncodedBatch | undefined>;
  /** To be called with what `encode` gave. */
  release(encoded: EncodedBatch): void;
}

/** The data set in the order of training. */
export interface EncodedData {
  /** What is left of the running epoch. */
  epoch(signal?: AbortSignal): AsyncIterable<TrainingBatch>;
  /** Rows that could not be used so far. */
  readonly skippedRows: number;
  /** Ends what is prepared ahead. */
  close(): Promise<void>;
}

/**
 * Loads pictures ahead of the loop, across the ends of epochs, and encodes them when their turn comes.
 *
 * @param perEpoch nothing of an epoch is asked for before the one before it is over, as where its order is drawn then
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
      // Not "for await", which would end the stream with the epoch.
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

/** Reads what was encoded before training began. */
export function readFromCache(order: EpochOrder, flips: Flips, cache: LatentCache): EncodedData {
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
          encode: () => cache.read(batch.rows, flags),
          release: disposeEncoded,
        };
      }
    },
    close: () => cache.close(),
  };
}

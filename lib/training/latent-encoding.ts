import { throwIfAborted } from "../core/errors.js";
import { Scope } from "../core/scope.js";
import type { Tensor } from "../core/tensor.js";
import type { Loader } from "../data/index.js";
import { native } from "../runtime/native.js";
import { type Layout, numbersOf, product } from "./latent-records.js";
import type { BatchEncoder } from "./recipes/edit/encoder.js";
import { disposeEncoded, type EncodedBatch, entriesOf } from "./recipes/edit/micro-batch.js";

/** What turns rows of the data set into records of the cache. */
export interface RowEncoding {
  loader: Loader;
  encoder: BatchEncoder;
  /** Whether records also hold the latents of the flipped images. */
  mirrored: boolean;
}

/** A batch of encoded rows. */
export interface RowRecords {
  /** The rows asked for. */
  rows: readonly number[];
  /** Those of them that are usable, and their records, in the same order. */
  usable: readonly number[];
  records: readonly Float32Array[];
  /** Undefined if no row is usable. */
  layout: Layout | undefined;
}

/** Encodes batches of rows. The same batch gives the same bits again; another division into batches may not. */
export async function* encodeRows(
  { loader, encoder, mirrored }: RowEncoding,
  batches: Iterable<{ rows: number[] }>,
  signal: AbortSignal | undefined,
): AsyncGenerator<RowRecords, void, undefined> {
  for await (const batch of loader.prefetched(batches)) {
    throwIfAborted(signal);
    const { indices: usable } = batch;
    const { rows } = batch.request;
    if (usable.length === 0) {
      yield { rows, usable, records: [], layout: undefined };
      continue;
    }
    const encoded: EncodedBatch[] = [];
    try {
      for (const flip of mirrored ? [false, true] : [false]) {
        const flips = usable.map(() => flip);
        encoded.push(await encoder.encode(batch, flips, signal));
      }
      const layout = await layoutOf(encoded);
      yield { rows, usable, records: await recordsOf(encoded, layout), layout };
    } finally {
      for (const one of encoded) disposeEncoded(one);
    }
  }
}

async function layoutOf(encoded: readonly EncodedBatch[]): Promise<Layout> {
  const { edited, original, text } = encoded[0]!;
  return {
    latents: edited.mean.shape.slice(1) as [number, number, number],
    perPair: original.logvar ? 4 : 3,
    text: Object.fromEntries(entriesOf(text).map(([name, { shape }]) => [name, shape.slice(1)])),
    mirrorings: encoded.length,
    channelsLast: await native().isChannelsLast(edited.mean.handle),
  };
}

/** The values of each row's record. */
async function recordsOf(encoded: readonly EncodedBatch[], layout: Layout): Promise<Float32Array[]> {
  using scope = new Scope();
  const float = async (tensor: Tensor) =>
    (await scope.add(await tensor.to({ dtype: "float32" })).toArray()) as Float32Array;
  const parts: { values: Float32Array; size: number }[] = [];
  for (const { edited, original } of encoded)
    for (const tensor of [edited.mean, edited.logvar, original.mean, original.logvar])
      if (tensor) parts.push({ values: await float(tensor), size: product(layout.latents) });
  for (const [name, tensor] of entriesOf(encoded[0]!.text))
    parts.push({ values: await float(tensor), size: product(layout.text[name]!) });
  const rows = encoded[0]!.edited.mean.shape[0]!;
  return Array.from({ length: rows }, (_, row) => {
    const record = new Float32Array(numbersOf(layout));
    let start = 0;
    for (const { values, size } of parts) {
      record.set(values.subarray(row * size, (row + 1) * size), start);
      start += size;
    }
    return record;
  });
}

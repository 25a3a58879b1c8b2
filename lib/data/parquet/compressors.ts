import type { CompressionCodec, Compressors } from "hyparquet";
import { compressors as packaged } from "hyparquet-compressors";
import { decompressZstd } from "./zstd.js";

/**
 * The most bytes that one compressed byte can stand for, rounded up: by the longest copy that the format can express and
 * the fewest bytes that it takes. A page that claims more is damaged, and would only take memory.
 */
const MOST_BYTES_PER_BYTE: Partial<Record<CompressionCodec, number>> = {
  SNAPPY: 32,
  LZ4: 256,
  LZ4_RAW: 256,
  GZIP: 1032,
  ZSTD: 2 ** 17 / 4,
  BROTLI: 2 ** 24,
};

const all: Compressors = { ...packaged, ZSTD: decompressZstd };

/** All codecs of parquet. Empty pages, as in a column of nulls, bypass them, since LZ4 fails on empty input. */
export const compressors: Compressors = Object.fromEntries(
  Object.entries(all).map(([codec, decompress]) => [
    codec,
    (input: Uint8Array, outputLength: number) => {
      if (outputLength === 0) return new Uint8Array(0);
      const most = input.length * (MOST_BYTES_PER_BYTE[codec as CompressionCodec] ?? 1);
      if (!(outputLength > 0 && outputLength <= most))
        throw new Error(
          `a page of ${input.length} bytes claims to hold ${outputLength}, which ${codec} cannot express`,
        );
      return decompress(input, outputLength);
    },
  ]),
);

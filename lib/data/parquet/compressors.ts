import type { Compressors } from "hyparquet";
import { compressors as all } from "hyparquet-compressors";

/** All codecs of parquet. A page without a byte, as a column of nulls has, is not handed to them: LZ4 fails on it. */
export const compressors: Compressors = Object.fromEntries(
  Object.entries(all).map(([codec, decompress]) => [
    codec,
    (input: Uint8Array, outputLength: number) =>
      outputLength === 0 ? new Uint8Array(0) : decompress(input, outputLength),
  ]),
);

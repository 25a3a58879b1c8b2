import { setImmediate as nextTurn } from "node:timers/promises";

/** Interleaved 8-bit RGB pixels, rows from top to bottom: `data[(y · width + x) · 3 + channel]`. */
export interface RgbPixels {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8Array;
}

/** Width and height of an image in pixels, upright. */
export interface ImageSize {
  width: number;
  height: number;
}

/** Pixels converted between two turns of the event loop, about 2 ms of work. */
const SLICE = 1 << 18;

/**
 * Calls `convert(from, to)` for consecutive ranges of `count` pixels and lets the event loop run between them.
 *
 * @param size pixels that each of them stands for: those of a row, or more where a pixel takes longer than in a plain conversion
 */
export async function inSlices(count: number, convert: (from: number, to: number) => void, size = 1): Promise<void> {
  const step = Math.max(1, Math.floor(SLICE / size));
  for (let from = 0; from < count; from += step) {
    if (from > 0) await nextTurn();
    convert(from, Math.min(count, from + step));
  }
}

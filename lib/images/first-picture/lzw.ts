import { setImmediate as nextTurn } from "node:timers/promises";

/** The longest codes have 12 bits. */
const MOST_CODES = 1 << 12;
/** Codes between two turns of the event loop, about 2 ms of work. */
const SLICE = 1 << 18;

/**
 * Whether the LZW codes of a GIF's frame stand for at least this many pixels (GIF89a, appendix F). Only their lengths
 * are decoded. Codes of an unknown size are left to the decoder.
 *
 * @param data the frame's data, without the lengths of its blocks
 * @param codeSize bits of a pixel; codes have at least one more
 */
export async function holdsPixels(data: Uint8Array, codeSize: number, pixels: number): Promise<boolean> {
  if (codeSize > 11) return true;
  const clear = 1 << codeSize;
  const end = clear + 1;
  /** Pixels that each code stands for. */
  const lengths = new Uint32Array(MOST_CODES).fill(1, 0, clear);
  let next = end + 1;
  let width = codeSize + 1;
  /** Pixels of the code before; 0 after a clear code. */
  let before = 0;
  let found = 0;
  let bits = 0;
  let buffered = 0;
  for (let at = 0, codes = 0; found < pixels; codes++) {
    if (codes % SLICE === SLICE - 1) await nextTurn();
    for (; buffered < width; buffered += 8) {
      if (at >= data.length) return false;
      bits |= data[at++]! << buffered;
    }
    const code = bits & ((1 << width) - 1);
    bits >>>= width;
    buffered -= width;
    if (code === clear) {
      [next, width, before] = [end + 1, codeSize + 1, 0];
      continue;
    }
    if (code === end || code > next || (before === 0 && code > end)) return false;
    // A code that is not known yet is the one before and its own first pixel.
    const length = code === next ? before + 1 : lengths[code]!;
    if (before > 0 && next < MOST_CODES) {
      lengths[next++] = before + 1;
      if (next === 1 << width && width < 12) width++;
    }
    before = length;
    found += length;
  }
  return true;
}

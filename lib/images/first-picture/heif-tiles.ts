import { av1Size, type PixelSize } from "./av1-size.js";
import { PLACED_IN, places } from "./heif-places.js";
import { Refusal } from "./limits.js";

/** More than the headers of a stream that encoders write for one image. */
const HEADER_BYTES = 1024;

/** The parts of a file from which its tiles follow. */
export interface TiledFile {
  readonly bytes: Buffer;
  /** The content of its boxes `iloc` and `idat`. */
  readonly places: Buffer;
  readonly data: Buffer;
  /** The sizes that the file gives to a tile. */
  sizesOf(item: number): readonly PixelSize[];
}

/**
 * Checks that tiles in AV1 have the size that the file says: where one is smaller, the decoder leaves a green rest.
 *
 * @param tiles their items
 * @throws {@link Refusal} for one of another size, and one whose size is not in its first bytes
 */
export function checkTileSizes(file: TiledFile, tiles: ReadonlySet<number>): void {
  const starts = new Map<number, Buffer>();
  for (const { item, method, otherFile, start, end } of places(file.places)) {
    const known = starts.get(item) ?? Buffer.alloc(0);
    if (!tiles.has(item) || otherFile || known.length >= HEADER_BYTES) continue;
    const source = method === PLACED_IN.data ? file.data : file.bytes;
    // A length of 0 stands for all that follows.
    const part = source.subarray(start, Math.min(end === start ? source.length : end, start + HEADER_BYTES));
    starts.set(item, Buffer.concat([known, part]));
  }
  for (const item of tiles) {
    const coded = av1Size(starts.get(item) ?? Buffer.alloc(0));
    if (!coded) throw new Refusal("has a tile that does not say its size");
    for (const { width, height } of file.sizesOf(item))
      if (width !== coded.width || height !== coded.height)
        throw new Refusal(`has a tile of ${coded.width}×${coded.height} pixels where it says ${width}×${height}`);
  }
}

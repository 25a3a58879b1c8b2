/** Where a part of an item lies. */
export interface Place {
  readonly item: number;
  /** In the file, in the box `idat`, or in another item; whether in another file. */
  readonly method: number;
  readonly otherFile: boolean;
  readonly start: number;
  readonly end: number;
}

export const PLACED_IN = { file: 0, data: 1 };

/**
 * Checks that the items of an AVIF or HEIC file lie within it (its box `iloc`, ISO/IEC 14496-12, 8.11.3): of an image
 * made of tiles the decoder would leave those out that are cut off.
 *
 * @param content the box without its head
 * @param fileBytes size of the file
 * @throws RangeError for an item beyond the end
 */
export function checkPlaces(content: Buffer, fileBytes: number): void {
  for (const { method, otherFile, end } of places(content))
    if (method === PLACED_IN.file && !otherFile && end > fileBytes) throw new RangeError("an item lies beyond the end");
}

/** The parts of all items, in order; nothing for a version that is not known. */
export function* places(content: Buffer): Generator<Place> {
  const version = content.readUInt8(0);
  if (version > 2) return;
  const [offsetBytes, lengthBytes] = halves(content.readUInt8(4));
  const [baseBytes, indexBytes] = halves(content.readUInt8(5));
  const idBytes = version < 2 ? 2 : 4;
  let at = 6;
  const next = (bytes: number): number => {
    if (at + bytes > content.length) throw new RangeError("the list of places ends too early");
    at += bytes;
    // Numbers have at most eight bytes; those of more than six are far beyond any file in their upper ones.
    return bytes <= 6
      ? readNumber(content, at - bytes, bytes)
      : readNumber(content, at - bytes, 4) * 2 ** 32 + readNumber(content, at - 4, 4);
  };
  for (let items = next(idBytes); items > 0; items--) {
    const item = next(idBytes);
    const method = version === 0 ? PLACED_IN.file : next(2) & 15;
    const otherFile = next(2) !== 0;
    const base = next(baseBytes);
    const extents = next(2);
    const extentBytes = (version === 0 ? 0 : indexBytes) + offsetBytes + lengthBytes;
    // Without any number of their own, all of them are the same.
    for (let left = extentBytes === 0 ? Math.min(1, extents) : extents; left > 0; left--) {
      if (version > 0) next(indexBytes);
      const start = base + next(offsetBytes);
      yield { item, method, otherFile, start, end: start + next(lengthBytes) };
    }
  }
}

function halves(byte: number): [high: number, low: number] {
  return [byte >> 4, byte & 15];
}

function readNumber(bytes: Buffer, at: number, length: number): number {
  return length === 0 ? 0 : bytes.readUIntBE(at, length);
}

/**
 * Checks that the items of an AVIF or HEIC file lie within it (its box `iloc`, ISO/IEC 14496-12, 8.11.3): of a picture
 * made of tiles the decoder would leave those out that are cut off.
 *
 * @param content the box without its head
 * @param fileBytes size of the file
 * @throws RangeError for an item beyond the end
 */
export function checkPlaces(content: Buffer, fileBytes: number): void {
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
    next(idBytes);
    const IN_FILE = 0;
    const method = version === 0 ? IN_FILE : next(2) & 15;
    const otherFile = next(2);
    const base = next(baseBytes);
    const extents = next(2);
    const extentBytes = (version === 0 ? 0 : indexBytes) + offsetBytes + lengthBytes;
    // Without any number of their own, all of them are the same.
    for (let left = extentBytes === 0 ? Math.min(1, extents) : extents; left > 0; left--) {
      if (version > 0) next(indexBytes);
      const end = base + next(offsetBytes) + next(lengthBytes);
      if (method === IN_FILE && otherFile === 0 && end > fileBytes) throw new RangeError("an item lies beyond the end");
    }
  }
}

function halves(byte: number): [high: number, low: number] {
  return [byte >> 4, byte & 15];
}

function readNumber(bytes: Buffer, at: number, length: number): number {
  return length === 0 ? 0 : bytes.readUIntBE(at, length);
}

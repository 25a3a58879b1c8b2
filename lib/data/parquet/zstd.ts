/** The memory of a decoder for a frame of unknown size; zstd's own tools refuse larger windows too. */
const MOST_WINDOW = 2 ** 27;
const FRAME = 0xfd2fb528;
/** The last four bits are free. */
const SKIPPABLE = 0x184d2a50;
const BLOCK = { raw: 0, repeated: 1, compressed: 2 };

/**
 * Goes over the frames of a page in Zstandard's format (RFC 8878) before the decoder does, which allocates whatever
 * size or window they declare.
 *
 * @param pageBytes the bytes that the page holds, decompressed
 * @throws an Error for frames of more than that, and windows of more than 128 MiB; what else is wrong is left to the
 *   decoder
 */
export function checkZstd(input: Uint8Array, pageBytes: number): void {
  const view = new DataView(input.buffer, input.byteOffset, input.byteLength);
  let held = 0;
  const add = (bytes: number) => {
    held += bytes;
    if (held > pageBytes) throw new Error(`a page that claims ${pageBytes} bytes holds more`);
  };
  for (let at = 0; at + 8 < input.length; ) {
    const magic = view.getUint32(at, true);
    if ((magic & ~15) >>> 0 === SKIPPABLE) {
      at += 8 + view.getUint32(at + 4, true);
      continue;
    }
    if (magic !== FRAME) return;
    const flags = input[at + 4]!;
    const isSingle = (flags & 32) !== 0;
    const sizeBytes = flags >> 6 > 0 ? 1 << (flags >> 6) : isSingle ? 1 : 0;
    const window = isSingle ? 0 : windowOf(input[at + 5]!);
    at += (isSingle ? 5 : 6) + [0, 1, 2, 4][flags & 3]!;
    if (at + sizeBytes > input.length) return;
    // Zero stands for an unknown size with the decoder.
    const declared = sizeBytes === 0 ? 0 : numberAt(input, at, sizeBytes) + (sizeBytes === 2 ? 256 : 0);
    add(declared);
    if (declared === 0 && window > MOST_WINDOW)
      throw new Error(`a page needs a window of ${window} bytes, more than ${MOST_WINDOW}`);
    at += sizeBytes;
    for (let last = false; !last; ) {
      if (at + 3 > input.length) return;
      const head = numberAt(input, at, 3);
      const [type, size] = [(head >> 1) & 3, head >> 3];
      last = (head & 1) === 1;
      if (declared === 0 && type !== BLOCK.compressed) add(size);
      at += 3 + (type === BLOCK.repeated ? 1 : size);
    }
    at += (flags & 4) !== 0 ? 4 : 0;
  }
}

function windowOf(descriptor: number): number {
  const base = 2 ** (10 + (descriptor >> 3));
  return base + (base / 8) * (descriptor & 7);
}

/** An unsigned number, the lowest byte first. */
function numberAt(bytes: Uint8Array, at: number, length: number): number {
  let value = 0;
  for (let i = length - 1; i >= 0; i--) value = value * 256 + bytes[at + i]!;
  return value;
}

import { Decompress, decompress } from "fzstd";

/** The memory of a decoder for a frame of unknown size; zstd's own tools refuse larger windows too. */
const MOST_WINDOW = 2 ** 27;
const FRAME = 0xfd2fb528;
/** The last four bits are free. */
const SKIPPABLE = 0x184d2a50;
const BLOCK = { raw: 0, repeated: 1, compressed: 2 };

/**
 * Decompresses a page in Zstandard's format (RFC 8878) without taking more memory than the page: the decoder allocates
 * whatever size or window a frame declares, and lets a frame of unknown size grow.
 *
 * @param pageBytes the bytes that the page holds, decompressed
 * @throws an Error for frames of more than that, for windows of more than 128 MiB, and for what the decoder cannot read
 */
export function decompressZstd(input: Uint8Array, pageBytes: number): Uint8Array {
  const parts: Uint8Array[] = [];
  let held = 0;
  const add = (bytes: number) => {
    held += bytes;
    if (held > pageBytes) throw new Error(`a page that claims ${pageBytes} bytes holds more`);
  };
  for (let at = 0; at < input.length; ) {
    const frame = frameAt(input, at);
    const bytes = input.subarray(at, frame.end);
    at = frame.end;
    if (frame.skipped) continue;
    if (frame.declared > 0) {
      add(frame.declared);
      parts.push(decompress(bytes));
      continue;
    }
    if (frame.window > MOST_WINDOW)
      throw new Error(`a page needs a window of ${frame.window} bytes, more than ${MOST_WINDOW}`);
    if (held + frame.stored > pageBytes) add(frame.stored);
    const decoder = new Decompress((data) => {
      add(data.length);
      parts.push(data);
    });
    decoder.push(bytes, true);
  }
  return parts.length === 1 ? parts[0]! : Buffer.concat(parts);
}

interface Frame {
  /** Where it ends; the end of the input for one that is damaged or cut off, which the decoder refuses. */
  readonly end: number;
  readonly skipped: boolean;
  /** Bytes of its content, 0 for an unknown number, as for the decoder. */
  readonly declared: number;
  readonly window: number;
  /** Bytes of its content that its blocks name without compression: at least as many as it holds. */
  readonly stored: number;
}

function frameAt(input: Uint8Array, start: number): Frame {
  const damaged: Frame = { end: input.length, skipped: false, declared: 0, window: 0, stored: 0 };
  if (start + 8 >= input.length) return damaged;
  const view = new DataView(input.buffer, input.byteOffset, input.byteLength);
  const magic = view.getUint32(start, true);
  if ((magic & ~15) >>> 0 === SKIPPABLE) {
    const end = start + 8 + view.getUint32(start + 4, true);
    return { ...damaged, end, skipped: true };
  }
  if (magic !== FRAME) return damaged;
  const flags = input[start + 4]!;
  const isSingle = (flags & 32) !== 0;
  const sizeBytes = flags >> 6 > 0 ? 1 << (flags >> 6) : isSingle ? 1 : 0;
  const window = isSingle ? 0 : windowOf(input[start + 5]!);
  let at = start + (isSingle ? 5 : 6) + [0, 1, 2, 4][flags & 3]!;
  if (at + sizeBytes > input.length) return damaged;
  const declared = sizeBytes === 0 ? 0 : numberAt(input, at, sizeBytes) + (sizeBytes === 2 ? 256 : 0);
  at += sizeBytes;
  let stored = 0;
  for (let last = false; !last; ) {
    if (at + 3 > input.length) return { ...damaged, declared, window, stored };
    const head = numberAt(input, at, 3);
    const [type, size] = [(head >> 1) & 3, head >> 3];
    last = (head & 1) === 1;
    if (type !== BLOCK.compressed) stored += size;
    at += 3 + (type === BLOCK.repeated ? 1 : size);
  }
  const end = Math.min(at + ((flags & 4) !== 0 ? 4 : 0), input.length);
  return { end, skipped: false, declared, window, stored };
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

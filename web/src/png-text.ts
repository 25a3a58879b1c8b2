// Text in PNG files: chunks of the kind iTXt, as https://www.w3.org/TR/png-3/#11iTXt has them.

const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];
/** The end of the first chunk, which is always the header. */
const HEADER_END = 8 + 12 + 13;

/** The same image with a text. @param keyword Latin letters, at most 79 */
export function withPngText(png: Uint8Array, keyword: string, text: string): Uint8Array {
  const encode = (value: string) => new TextEncoder().encode(value);
  // No compression, no language, no translated keyword.
  const data = [...encode(keyword), 0, 0, 0, 0, 0, ...encode(text)];
  const body = Uint8Array.from([...encode("iTXt"), ...data]);
  const chunk = new Uint8Array(body.length + 8);
  const view = new DataView(chunk.buffer);
  view.setUint32(0, data.length);
  chunk.set(body, 4);
  view.setUint32(body.length + 4, crc32(body));
  const result = new Uint8Array(png.length + chunk.length);
  result.set(png.subarray(0, HEADER_END));
  result.set(chunk, HEADER_END);
  result.set(png.subarray(HEADER_END), HEADER_END + chunk.length);
  return result;
}

/** A text in a file; undefined for what is no PNG, or has none of that keyword. */
export function readPngText(file: Uint8Array, keyword: string): string | undefined {
  if (!SIGNATURE.every((byte, i) => file[i] === byte)) return undefined;
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const latin = (from: number, to: number) => String.fromCharCode(...file.subarray(from, to));
  for (let at = 8; at + 12 <= file.length; ) {
    const length = view.getUint32(at);
    const [begin, end] = [at + 8, at + 8 + length];
    if (end + 4 > file.length) return undefined;
    const textBegin = begin + keyword.length + 5;
    const isIt = latin(at + 4, begin) === "iTXt" && textBegin <= end;
    if (isIt && latin(begin, textBegin) === `${keyword}\0\0\0\0\0`)
      return new TextDecoder().decode(file.subarray(textBegin, end));
    at = end + 4;
  }
  return undefined;
}

/** The checksum of PNG's chunks. */
function crc32(bytes: Uint8Array): number {
  let crc = ~0;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
}

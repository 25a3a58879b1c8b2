import * as zlib from "node:zlib";

/** The checksum of ZIP archives, of `data` after what had the checksum `previous`. Node.js has it from 20.15 on. */
export const crc32: (data: Uint8Array, previous: number) => number =
  typeof zlib.crc32 === "function" ? zlib.crc32 : tabulated;

const table = Uint32Array.from({ length: 256 }, (_, byte) => {
  for (let bit = 0; bit < 8; bit++) byte = byte & 1 ? (byte >>> 1) ^ 0xedb88320 : byte >>> 1;
  return byte;
});

/** The same in JavaScript. */
export function tabulated(data: Uint8Array, previous: number): number {
  let crc = ~previous;
  for (const byte of data) crc = (table[(crc ^ byte) & 0xff] as number) ^ (crc >>> 8);
  return ~crc >>> 0;
}

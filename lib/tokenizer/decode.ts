import { trimEnd } from "../core/trim.js";

/** The byte that each character of a byte-level token stands for: printable Latin-1 is itself, the rest is moved up. */
const BYTE_OF: ReadonlyMap<string, number> = new Map(
  Array.from({ length: 256 }, (_, byte) => byte)
    .map((byte) => [byte, (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte !== 0xad)] as const)
    .sort(([, a], [, b]) => Number(b) - Number(a))
    .map(([byte, printable], index) => [String.fromCodePoint(printable ? byte : 256 + index - 188), byte] as const),
);

// biome-ignore lint/suspicious/noControlCharactersInRegex: Python's `strip` takes the four separators for space too
const SPACE = /^[\p{White_Space}\x1c-\x1f]+/u;

function bytesOf(token: string): number[] {
  const bytes: number[] = [];
  for (const character of token) {
    const byte = BYTE_OF.get(character);
    // A token with other characters, such as an added one, is its own text.
    if (byte === undefined) return [...new TextEncoder().encode(token)];
    bytes.push(byte);
  }
  return bytes;
}

/** Decodes byte-level tokens to text: `</w>` is a space, and space at either end is dropped. */
export function decodeTokens(tokens: readonly string[]): string {
  const bytes = Uint8Array.from(tokens.flatMap(bytesOf));
  const text = new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes).replaceAll("</w>", " ");
  return trimEnd(text.replace(SPACE, ""), (character) => SPACE.test(character));
}

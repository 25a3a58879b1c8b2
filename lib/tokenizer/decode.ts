/** Maps the characters of byte-level tokens to bytes: printable Latin-1 to itself, others from above. */
const BYTE_OF: ReadonlyMap<string, number> = new Map(
  Array.from({ length: 256 }, (_, byte) => byte)
    .map((byte) => [byte, (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte !== 0xad)] as const)
    .sort(([, a], [, b]) => Number(b) - Number(a))
    .map(([byte, printable], index) => [String.fromCodePoint(printable ? byte : 256 + index - 188), byte] as const),
);

// biome-ignore lint/suspicious/noControlCharactersInRegex: Python's `strip` takes the four separators for space too
const EDGE_SPACE = /^[\p{White_Space}\x1c-\x1f]+|[\p{White_Space}\x1c-\x1f]+$/gu;

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
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes).replaceAll("</w>", " ").replace(EDGE_SPACE, "");
}

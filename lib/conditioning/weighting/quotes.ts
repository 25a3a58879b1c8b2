const WHITE_SPACE: Record<string, string> = { t: "\t", n: "\n", f: "\f", r: "\r" };

/**
 * Reads a string in quotation marks that begins at a position: its content, and where it ends. `\"` belongs to the
 * content, unless no other mark closes the string; `\t`, `\n`, `\f` and `\r` are white space.
 */
export function unquoted(text: string, at: number): { content: string; end: number } | undefined {
  if (text[at] !== '"') return undefined;
  let escaped: number | undefined;
  for (let end = at + 1; ; end++) {
    const character = text[end];
    if (character === undefined || character === "\n" || character === "\r") {
      if (escaped === undefined) return undefined;
      return { content: unescaped(text.slice(at + 1, escaped)), end: escaped + 1 };
    }
    if (character === "\\" && text[end + 1] === '"') escaped = ++end;
    else if (character === '"') return { content: unescaped(text.slice(at + 1, end)), end: end + 1 };
  }
}

function unescaped(content: string): string {
  return content.replace(/\\([tnfr])/g, (_, letter: string) => WHITE_SPACE[letter]!).replaceAll('\\"', '"');
}

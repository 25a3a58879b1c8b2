/**
 * Removes trailing characters for which a test holds; unlike `/x+$/`, in linear time.
 */
export function trimEnd(text: string, drop: (character: string) => boolean): string {
  let end = text.length;
  while (end > 0 && drop(text[end - 1]!)) end--;
  return text.slice(0, end);
}

/** Removes trailing slashes. */
export function trimSlashes(text: string): string {
  return trimEnd(text, (character) => character === "/");
}

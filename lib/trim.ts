/**
 * A text without the characters at its end that a test holds for; unlike `/x+$/`, in time proportional to their number,
 * whatever else the text holds.
 */
export function trimEnd(text: string, drop: (character: string) => boolean): string {
  let end = text.length;
  while (end > 0 && drop(text[end - 1]!)) end--;
  return text.slice(0, end);
}

/** Without slashes at the end. */
export function trimSlashes(text: string): string {
  return trimEnd(text, (character) => character === "/");
}

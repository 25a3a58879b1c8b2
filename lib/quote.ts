/** What of a text stands in a message. */
const SHOWN = 200;

/** A text from outside for a message: in double quotes, on one line, and cut where it is long. */
export function quote(text: string): string {
  return JSON.stringify(text.length > SHOWN ? `${text.slice(0, SHOWN - 1)}…` : text);
}

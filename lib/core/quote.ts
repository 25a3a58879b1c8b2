/** Maximal length of quoted text in a message. */
const SHOWN = 200;

/** Quotes untrusted text for a message: in double quotes, on one line, truncated if long. */
export function quote(text: string): string {
  return JSON.stringify(text.length > SHOWN ? `${text.slice(0, SHOWN - 1)}…` : text);
}

/** One row to be written: an edit with both of its pictures. */
export interface EditRow {
  /** The picture before, as PNG. */
  before: Uint8Array;
  /** The picture after, as PNG. */
  after: Uint8Array;
  prompt: string;
  /** Further columns of text; every row has the same. */
  texts: Readonly<Record<string, string>>;
}

/** Writes rows, one after the other, into an empty folder. */
export interface EditWriter {
  /** Resolves when the next row can be taken. */
  write(row: EditRow): Promise<void>;
  /** Completes what was written; nothing can be written after it. */
  finish(): Promise<void>;
  /** Closes what is open, whole or not. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** What the columns are called that both `ip2p train` and diffusers' script read by default. */
export const COLUMNS = { before: "input_image", prompt: "edit_prompt", after: "edited_image" } as const;

/** What a row's picture is called, without a folder. */
export function pictureName(row: number, side: "before" | "after"): string {
  return `${String(row).padStart(7, "0")}_${side}.png`;
}

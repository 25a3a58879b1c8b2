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
  /** Resolves when the next row can be written. */
  write(row: EditRow): Promise<void>;
  /** Completes the files; nothing can be written afterwards. */
  finish(): Promise<void>;
  /** Closes open files, complete or not. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** The default column names of `ip2p train` and diffusers' script. */
export const COLUMNS = { before: "input_image", prompt: "edit_prompt", after: "edited_image" } as const;

/** File name of a row's picture. */
export function pictureName(row: number, side: "before" | "after"): string {
  return `${String(row).padStart(7, "0")}_${side}.png`;
}

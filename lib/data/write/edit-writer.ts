import { identifyFormat } from "../../images/format.js";

/** One row to be written: an edit with both of its images. */
export interface EditRow {
  /** The file of the image before. */
  before: Uint8Array;
  /** The file of the image after. */
  after: Uint8Array;
  prompt: string;
  /** Further columns of text; every row has the same. */
  texts: Readonly<Record<string, string | null>>;
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

/** File name of a row's image; its extension is that of the format. */
export function pictureName(row: number, side: "before" | "after", file: Uint8Array): string {
  const format = identifyFormat(Buffer.from(file.buffer, file.byteOffset, file.byteLength));
  return `${String(row).padStart(7, "0")}_${side}.${format?.extension ?? "bin"}`;
}

import { type FileHandle, mkdir, open, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { COLUMNS, type EditRow, type EditWriter, pictureName } from "./edit-writer.js";

/** Rows in each subfolder, so that none grows too long to be listed. */
const ROWS_PER_FOLDER = 1000;
/** Characters of metadata that are written at once. */
const BUFFERED = 1 << 16;

/** Writes an image folder: image files and a metadata.jsonl that names them, as the `datasets` library reads them. */
export class ImageFolderWriter implements EditWriter {
  readonly #folder: string;
  readonly #metadata: FileHandle;
  #rows = 0;
  #lines = "";

  private constructor(folder: string, metadata: FileHandle) {
    this.#folder = folder;
    this.#metadata = metadata;
  }

  static async create(folder: string): Promise<ImageFolderWriter> {
    return new ImageFolderWriter(folder, await open(join(folder, "metadata.jsonl"), "wx"));
  }

  async write({ before, after, prompt, texts }: EditRow): Promise<void> {
    const row = this.#rows++;
    const subfolder = `images/${String(Math.floor(row / ROWS_PER_FOLDER)).padStart(4, "0")}`;
    if (row % ROWS_PER_FOLDER === 0) await mkdir(join(this.#folder, subfolder), { recursive: true });
    const [beforeFile, afterFile] = [
      `${subfolder}/${pictureName(row, "before", before)}`,
      `${subfolder}/${pictureName(row, "after", after)}`,
    ];
    await Promise.all([
      writeFile(join(this.#folder, beforeFile), before),
      writeFile(join(this.#folder, afterFile), after),
    ]);
    const line = {
      [`${COLUMNS.before}_file_name`]: beforeFile,
      [COLUMNS.prompt]: prompt,
      [`${COLUMNS.after}_file_name`]: afterFile,
      ...texts,
    };
    this.#lines += `${JSON.stringify(line)}\n`;
    if (this.#lines.length >= BUFFERED) await this.#writeLines();
  }

  async finish(): Promise<void> {
    await this.#writeLines();
    await this.#metadata.sync();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#metadata.close();
  }

  async #writeLines(): Promise<void> {
    const lines = this.#lines;
    this.#lines = "";
    await this.#metadata.writeFile(lines);
  }
}

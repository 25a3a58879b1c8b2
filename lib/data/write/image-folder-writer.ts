import { createReadStream } from "node:fs";
import { type FileHandle, mkdir, open, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { COLUMNS, type EditRow, type EditWriter, pictureName } from "./edit-writer.js";

const METADATA = "metadata.jsonl";
/** Rows in each subfolder, so that none grows too long to be listed. */
const ROWS_PER_FOLDER = 1000;
/** Rows after which their lines are written: as many have to be made anew after a process was killed. */
const ROWS_AT_RISK = 50;
/** Characters of metadata that are written at once. */
const BUFFERED = 1 << 16;

/** Writes an image folder: image files and a metadata.jsonl that names them, as the `datasets` library reads them. */
export class ImageFolderWriter implements EditWriter {
  readonly #folder: string;
  readonly #metadata: FileHandle;
  #rows = 0;
  #lines = "";

  private constructor(folder: string, metadata: FileHandle, rows = 0) {
    this.#folder = folder;
    this.#metadata = metadata;
    this.#rows = rows;
  }

  /** Rows so far, those of an earlier writer included. */
  get rows(): number {
    return this.#rows;
  }

  static async create(folder: string): Promise<ImageFolderWriter> {
    return new ImageFolderWriter(folder, await open(join(folder, METADATA), "wx"));
  }

  /** Goes on after the rows that an interrupted writer has left in the folder; an unfinished last line is cut off. */
  static async resume(folder: string): Promise<ImageFolderWriter> {
    const metadata = await open(join(folder, METADATA), "a+");
    try {
      const text = await metadata.readFile();
      const end = text.lastIndexOf("\n") + 1;
      await metadata.truncate(end);
      let rows = 0;
      for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n", at + 1)) rows++;
      return new ImageFolderWriter(folder, metadata, rows);
    } catch (error) {
      await metadata.close();
      throw error;
    }
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
    if (this.#lines.length >= BUFFERED || this.#rows % ROWS_AT_RISK === 0) await this.#writeLines();
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

/** Reads the rows that a writer has written into a folder. */
export async function* readRows(folder: string): AsyncGenerator<EditRow> {
  const input = createReadStream(join(folder, METADATA), "utf8");
  try {
    for await (const line of createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })) {
      const {
        [`${COLUMNS.before}_file_name`]: beforeFile,
        [COLUMNS.prompt]: prompt,
        [`${COLUMNS.after}_file_name`]: afterFile,
        ...texts
      } = JSON.parse(line) as Record<string, string>;
      const [before, after] = await Promise.all([beforeFile, afterFile].map((name) => readFile(join(folder, name!))));
      yield { before: before!, after: after!, prompt: prompt!, texts };
    }
  } finally {
    input.destroy();
  }
}

import { posix } from "node:path";
import { throwIfAborted } from "../core/errors.js";
import { columnOfKey, pictureKeys } from "./columns.js";
import type { DataFolder } from "./data-folder.js";
import type { EditColumns } from "./dataset.js";
import { datasetError, reasonOf } from "./errors.js";
import { describeRecord, type MetadataRecord, readMetadata } from "./metadata/read.js";

/** The rows of all metadata files of an image folder, column by column. Paths are relative to the folder. */
export class ImageFolderRows {
  readonly originals: (string | null)[] = [];
  readonly edited: (string | null)[] = [];
  readonly prompts: (string | null)[] = [];
  /** The reason why a row cannot be used. */
  readonly problems = new Map<number, string>();
  /** The keys of all records, in order of appearance. */
  readonly keys = new Set<string>();
  /** The other columns of text, row by row; empty unless they were asked for. */
  readonly #texts: Record<string, string>[] = [];
  /** The keys that have such a value, and those that have another. */
  readonly #isText = new Set<string>();
  readonly #notText = new Set<string>();
  readonly #otherColumns: boolean;
  readonly #positions: number[] = [];
  readonly #files: { readonly name: string; readonly start: number }[] = [];
  readonly #folder: DataFolder;
  readonly #columns: EditColumns;
  readonly #originalKeys: readonly string[];
  readonly #editedKeys: readonly string[];

  private constructor(folder: DataFolder, columns: EditColumns, otherColumns: boolean) {
    this.#folder = folder;
    this.#columns = columns;
    this.#otherColumns = otherColumns;
    this.#originalKeys = pictureKeys(columns.original);
    this.#editedKeys = pictureKeys(columns.edited);
  }

  /**
   * @param metadata the metadata files in the order of their rows, relative to the folder
   * @throws `ERR_DATASET` for a malformed file, or one that names an image outside of the folder
   */
  static async read(
    folder: DataFolder,
    metadata: readonly string[],
    columns: EditColumns,
    { otherColumns, signal }: { otherColumns: boolean; signal: AbortSignal | undefined },
  ): Promise<ImageFolderRows> {
    const rows = new ImageFolderRows(folder, columns, otherColumns);
    const wanted = [...rows.#originalKeys, ...rows.#editedKeys, columns.prompt];
    for (const name of metadata) {
      const path = await folder.file(folder.absolute(name));
      if (path === undefined) throw datasetError(`the file ${folder.absolute(name)} does not exist`);
      rows.#files.push({ name, start: rows.length });
      for await (const slice of readMetadata(path, wanted, otherColumns)) {
        throwIfAborted(signal);
        for (const record of slice) rows.#add(name, record);
      }
    }
    return rows;
  }

  get length(): number {
    return this.#positions.length;
  }

  /** The other columns that hold text, numbers or truth values and nothing else. */
  get textColumns(): string[] {
    const used = new Set([...this.#originalKeys, ...this.#editedKeys, this.#columns.prompt]);
    return [...this.#isText].filter((key) => !used.has(key) && columnOfKey(key) === key && !this.#notText.has(key));
  }

  textsOf(index: number): Record<string, string | null> {
    const texts = this.#texts[index];
    return Object.fromEntries(this.textColumns.map((key) => [key, texts?.[key] ?? null]));
  }

  /** `metadata.jsonl, line 18` */
  describe(index: number): string {
    let file = this.#files.length - 1;
    while (this.#files[file]!.start > index) file--;
    return describeRecord(this.#files[file]!.name, this.#positions[index]!);
  }

  #add(file: string, record: MetadataRecord): void {
    const index = this.#positions.push(record.position) - 1;
    const values = "values" in record ? record.values : {};
    for (const key of Object.keys(values)) this.keys.add(key);
    const problems = "problem" in record ? [record.problem] : [];
    const text = (keys: readonly string[]): string | null => {
      const key = keys.find((candidate) => (values[candidate] ?? null) !== null);
      const value = key === undefined ? null : values[key];
      if (value === null || typeof value === "string") return value;
      problems.push(`${key} is not text`);
      return null;
    };
    const picture = (keys: readonly string[], column: string): string | null => {
      const path = text(keys);
      if (path !== null && path !== "") return this.#locate(file, record.position, path);
      problems.push(`has no ${column}`);
      return null;
    };
    this.originals.push(picture(this.#originalKeys, this.#columns.original));
    this.edited.push(picture(this.#editedKeys, this.#columns.edited));
    this.prompts.push(text([this.#columns.prompt]));
    if (this.#otherColumns) this.#texts.push(this.#textsIn(values));
    if (problems.length > 0) this.problems.set(index, problems[0]!);
  }

  #textsIn(values: Readonly<Record<string, unknown>>): Record<string, string> {
    const texts: [string, string][] = [];
    for (const [key, value] of Object.entries(values))
      if (typeof value === "string" || typeof value === "number" || typeof value === "boolean") {
        texts.push([key, String(value)]);
        this.#isText.add(key);
      } else if (value !== null) this.#notText.add(key);
    return Object.fromEntries(texts);
  }

  #locate(file: string, position: number, path: string): string {
    try {
      return this.#folder.locate(posix.dirname(file), path);
    } catch (error) {
      throw datasetError(`${this.#folder.path}: ${describeRecord(file, position)}: ${reasonOf(error)}`, error);
    }
  }
}

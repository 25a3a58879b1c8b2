import { type FileHandle, mkdir, open, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { InstructPix2PixError } from "../core/errors.js";
import { quote } from "../core/quote.js";
import { errnoOf, ioError } from "../files/io-error.js";

/** Its name in the output folder. */
export const RESULTS_FILE = "results.jsonl";

const LINE_FEED = 0x0a;

/** What a line of the results says. */
export type Entry = Readonly<Record<string, unknown>>;

/**
 * `results.jsonl`: a line with what is evaluated and how, and one for each edit in a fixed order. Lines are appended as they are
 * known, so that a run that was stopped goes on behind the last whole one.
 */
export class ResultsFile {
  readonly path: string;
  /** The lines that were there, in order, without the first. */
  readonly found: readonly Entry[];
  readonly #file: FileHandle;

  private constructor(path: string, file: FileHandle, found: readonly Entry[]) {
    this.path = path;
    this.#file = file;
    this.found = found;
  }

  /**
   * Opens a folder's results, and cuts off what is no whole line or not the one that is expected in its place.
   *
   * @param head the first line
   * @param expects whether an entry is the one of this place
   * @throws `ERR_INVALID_ARGUMENT` for the results of another evaluation, naming what differs; `ERR_IO`
   */
  static async open(
    folder: string,
    head: Entry,
    expects: (entry: Entry, place: number) => boolean,
  ): Promise<ResultsFile> {
    const path = join(folder, RESULTS_FILE);
    try {
      await mkdir(folder, { recursive: true });
      const bytes = await contentOf(path);
      const first = Buffer.from(`${JSON.stringify(head)}\n`);
      const { end, found } = keep(bytes, path, first, head, expects);
      const file = await open(path, "a");
      try {
        await file.truncate(end);
        if (end === 0) await file.writeFile(first);
      } catch (error) {
        await file.close();
        throw error;
      }
      return new ResultsFile(path, file, found);
    } catch (error) {
      throw ioError("open", path, error);
    }
  }

  /** Appends a line. @throws `ERR_IO` */
  async add(entry: Entry): Promise<void> {
    try {
      await this.#file.writeFile(`${JSON.stringify(entry)}\n`);
    } catch (error) {
      throw ioError("write", this.path, error);
    }
  }

  /** @throws `ERR_IO` */
  async close(): Promise<void> {
    try {
      await this.#file.sync();
    } catch (error) {
      throw ioError("write", this.path, error);
    } finally {
      await this.#file.close();
    }
  }
}

async function contentOf(path: string): Promise<Buffer> {
  try {
    if (!(await stat(path)).isFile())
      throw new InstructPix2PixError("ERR_IO", `cannot open ${quote(path)}: it is not a regular file`);
    return await readFile(path);
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return Buffer.alloc(0);
    throw error;
  }
}

/** The bytes that stay, and what they say. */
function keep(
  bytes: Buffer,
  path: string,
  first: Buffer,
  head: Entry,
  expects: (entry: Entry, place: number) => boolean,
): { end: number; found: Entry[] } {
  const found: Entry[] = [];
  let end = bytes.indexOf(LINE_FEED) + 1;
  if (end === 0) {
    // A beginning of the first line is all that is there.
    if (first.subarray(0, bytes.length).equals(bytes)) return { end: 0, found };
    throw foreign(path);
  }
  if (!bytes.subarray(0, end).equals(first)) throw otherEvaluation(path, bytes.subarray(0, end), head);
  for (;;) {
    const next = bytes.indexOf(LINE_FEED, end) + 1;
    const entry = next === 0 ? undefined : entryOf(bytes.subarray(end, next));
    if (!entry || !expects(entry, found.length)) return { end, found };
    found.push(entry);
    end = next;
  }
}

function entryOf(line: Uint8Array): Entry | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(line).toString("utf8"));
    return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Entry) : undefined;
  } catch {
    return undefined;
  }
}

function otherEvaluation(path: string, line: Uint8Array, head: Entry): InstructPix2PixError {
  const other = entryOf(line);
  if (!other || other.evaluation !== head.evaluation) return foreign(path);
  const text = (value: unknown) => JSON.stringify(value) ?? "nothing";
  const differing = Object.keys({ ...other, ...head }).filter((key) => text(other[key]) !== text(head[key]));
  const what = differing.map((key) => `${quote(key)} was ${quote(text(other[key]))}, not ${quote(text(head[key]))}`);
  return new InstructPix2PixError(
    "ERR_INVALID_ARGUMENT",
    `output: ${quote(path)} is of another evaluation: ${what.join("; ")}: give another folder, or remove the file`,
  );
}

function foreign(path: string): InstructPix2PixError {
  return new InstructPix2PixError(
    "ERR_INVALID_ARGUMENT",
    `output: ${quote(path)} holds no results of an evaluation: give another folder`,
  );
}

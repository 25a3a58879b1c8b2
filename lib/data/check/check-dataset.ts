import { createHash } from "node:crypto";
import { InstructPix2PixError, isInstructPix2PixError, throwIfAborted } from "../../core/errors.js";
import { checkOptions, optionNames } from "../../core/known-options.js";
import { allInOrder } from "../../core/settled.js";
import { identifyFormat } from "../../images/format.js";
import { imageFormatOf, loadImage, type RgbImage } from "../../images/index.js";
import type { ImageSize } from "../../images/pixels.js";
import { builtInTokenizer } from "../../tokenizer/built-in.js";
import { CLIPTokenizer } from "../../tokenizer/clip_tokenizer.js";
import { ahead } from "../ahead.js";
import type { EditDataset } from "../dataset.js";
import { datasetError, isFaultOfRow } from "../errors.js";
import { openPairs, storedBytes } from "../pairs.js";
import { ContactSheet } from "./contact-sheet.js";
import { Duplicates } from "./duplicates.js";
import { looksOf } from "./looks.js";
import { type DatasetReport, type DuplicateRows, type Findings, noFindings, note, type RowPlace } from "./report.js";
import { Sizes } from "./sizes.js";

/** Options of {@link checkDataset}. */
export interface CheckDatasetOptions {
  /** A folder of images with metadata, a folder of parquet files, or one file of metadata or with images. */
  from: string;
  /** The column of the images to edit. Default "input_image". */
  originalImageColumn?: string | undefined;
  /** The column of the edited images. Default "edited_image". */
  editedImageColumn?: string | undefined;
  /** The column of the instructions. Default "edit_prompt". */
  editPromptColumn?: string | undefined;
  /** Where a contact sheet goes: an image file with small versions of some pairs. Default: none is made. */
  sheet?: string | undefined;
  /** Pairs on the contact sheet, evenly spread over the rows. Default 24. */
  sheetPairs?: number | undefined;
  /** Rows that are read and decoded at a time. Default 2. */
  workers?: number | undefined;
  /** Where parquet files that are compressed are unpacked, for training too. Default: this package's cache. */
  cacheDir?: string | undefined;
  signal?: AbortSignal | undefined;
  /** Called after every row. */
  onProgress?: ((progress: { done: number; total: number }) => void) | undefined;
}

const OPTIONS = optionNames<CheckDatasetOptions>()({
  from: true,
  originalImageColumn: true,
  editedImageColumn: true,
  editPromptColumn: true,
  sheet: true,
  sheetPairs: true,
  workers: true,
  cacheDir: true,
  signal: true,
  onProgress: true,
});

/** Generous, so that no image counts as unreadable because the machine is busy. */
const DECODE_TIMEOUT_MS = 600_000;

/**
 * Reads every row of a data set as training would, and reports what a person should know before: rows that cannot be used,
 * sizes, instructions that are too long, pairs that repeat each other. Nothing is changed. libtorch is not needed.
 *
 * Near duplicates are pairs whose images, scaled down to 16×16 pixels, differ by at most 2.5 of 256 levels on average. Another
 * size or a stronger compression of the same image is found, a crop is not. Memory grows by about 2 KB for each row.
 *
 * @throws `ERR_FILE_NOT_FOUND` if there is nothing, `ERR_DATASET` for what is no data set or lacks a column, `ERR_IMAGE` for
 *   another extension of the sheet, `ERR_IO`, `ERR_INVALID_ARGUMENT`, `ERR_ABORTED`
 *
 * @example
 * ```js
 * import { checkDataset } from "instruct-pix2pix";
 *
 * const report = await checkDataset({ from: "./pairs", sheet: "sheet.jpg" });
 * console.log(`${report.usableRows} of ${report.rows} rows can be used`);
 * for (const { where, reason } of report.unusable.first) console.log(where, reason);
 * ```
 */
export async function checkDataset(options: CheckDatasetOptions): Promise<DatasetReport> {
  const { sheet, sheetPairs = 24, workers = 2, onProgress, ...source } = checkedOptions(options);
  if (sheet !== undefined) imageFormatOf(sheet);
  const { signal } = source;
  const [tokenizer, dataset] = await Promise.all([CLIPTokenizer.fromPretrained(builtInTokenizer), openPairs(source)]);
  try {
    const check = new Check(dataset, tokenizer, sheet === undefined ? 0 : sheetPairs);
    const total = dataset.length;
    let done = 0;
    for await (const take of ahead(total, workers, (index) => check.row(index, signal))) {
      throwIfAborted(signal);
      take();
      onProgress?.({ done: ++done, total });
    }
    return await check.report(sheet);
  } finally {
    await dataset.close();
  }
}

function checkedOptions(options: CheckDatasetOptions): CheckDatasetOptions {
  const checked = checkOptions(options, OPTIONS) as CheckDatasetOptions;
  const refuse = (what: string) => new InstructPix2PixError("ERR_INVALID_ARGUMENT", what);
  if (typeof checked.from !== "string" || checked.from === "")
    throw refuse("from must be the path of a folder or file with the pairs");
  for (const name of ["sheetPairs", "workers"] as const) {
    const value = checked[name];
    if (value !== undefined && !(Number.isSafeInteger(value) && value >= 1 && value <= 1000))
      throw refuse(`${name} is a whole number from 1 to 1000, not ${value}`);
  }
  return checked;
}

/** The findings while rows are read. */
class Check {
  readonly #dataset: EditDataset;
  readonly #tokenizer: CLIPTokenizer;
  readonly #sheet: ContactSheet;
  readonly #sizes = new Sizes();
  readonly #duplicates = new Duplicates();
  readonly #formats = new Map<string, number>();
  readonly #tokens: number[] = [];
  #bytes = 0;
  readonly #found = {
    unusable: noFindings<RowPlace & { reason: string }>(),
    longPrompts: noFindings<DatasetReport["longPrompts"]["first"][number]>(),
    differentSizes: noFindings<DatasetReport["differentSizes"]["first"][number]>(),
    unchanged: noFindings<RowPlace>(),
  };

  constructor(dataset: EditDataset, tokenizer: CLIPTokenizer, sheetPairs: number) {
    this.#dataset = dataset;
    this.#tokenizer = tokenizer;
    this.#sheet = new ContactSheet(dataset.length, sheetPairs);
  }

  /** Reads a row. What it resolves to adds the findings; it is to be called in the order of the rows. */
  async row(index: number, signal: AbortSignal | undefined): Promise<() => void> {
    try {
      return await this.#check(index, signal);
    } catch (error) {
      if (!isFaultOfRow(error)) throw error;
      return () => note(this.#found.unusable, { ...this.#place(index), reason: error.message });
    }
  }

  async report(sheet: string | undefined): Promise<DatasetReport> {
    const { unusable } = this.#found;
    const rowsOnSheet = sheet === undefined ? undefined : await this.#sheet.save(sheet);
    return {
      rows: this.#dataset.length,
      usableRows: this.#dataset.length - unusable.count,
      columns: [...this.#dataset.columns],
      imageBytes: this.#bytes,
      formats: Object.fromEntries([...this.#formats].sort(([, a], [, b]) => b - a)),
      ...this.#sizes.report(),
      tokens: lengths(this.#tokens),
      unusable,
      longPrompts: this.#found.longPrompts,
      differentSizes: this.#found.differentSizes,
      unchanged: this.#found.unchanged,
      duplicates: this.#groups(this.#duplicates.exact),
      nearDuplicates: this.#groups(this.#duplicates.near),
      sheet: sheet !== undefined && rowsOnSheet ? { path: sheet, rows: rowsOnSheet } : undefined,
    };
  }

  async #check(index: number, signal: AbortSignal | undefined): Promise<() => void> {
    const { original, edited, prompt } = await this.#dataset.row(index);
    const files = await allInOrder([storedBytes(original), storedBytes(edited)]);
    const before = await this.#load(files[0], "image before", signal);
    const after = await this.#load(files[1], "image after", signal);
    if (prompt === null) throw datasetError("has no prompt");
    if (prompt.trim() === "") throw datasetError("has an empty prompt");
    await this.#sheet.add(index, before, after);
    const looks = await Promise.all([looksOf(before), looksOf(after)]);
    const content = [...files, Buffer.from(prompt.trim())].map(hashOf).join(" ");
    const isUnchanged = before.equals(after);
    const [sizeBefore, sizeAfter] = [before, after].map(sizeOf) as [ImageSize, ImageSize];
    const formats = files.map(extensionOf);
    const bytes = files[0].length + files[1].length;
    const tokens = this.#tokensIn(prompt);
    // The images themselves are not kept.
    return () => {
      const { longPrompts, differentSizes, unchanged } = this.#found;
      const place = this.#place(index);
      this.#bytes += bytes;
      for (const format of formats) this.#formats.set(format, (this.#formats.get(format) ?? 0) + 1);
      for (const size of [sizeBefore, sizeAfter]) this.#sizes.add(size);
      this.#tokens.push(tokens);
      if (tokens > this.#tokenizer.modelMaxLength) note(longPrompts, { ...place, tokens });
      if (sizeBefore.width !== sizeAfter.width || sizeBefore.height !== sizeAfter.height)
        note(differentSizes, { ...place, original: sizeBefore, edited: sizeAfter });
      if (isUnchanged) note(unchanged, place);
      this.#duplicates.add({ row: index, content, original: looks[0], edited: looks[1] });
    };
  }

  #tokensIn(prompt: string): number {
    try {
      return this.#tokenizer.encode(prompt)[0]!.length;
    } catch (error) {
      if (!isInstructPix2PixError(error, "ERR_TOKENIZER")) throw error;
      throw datasetError(error.message, error);
    }
  }

  async #load(file: Uint8Array, name: string, signal: AbortSignal | undefined): Promise<RgbImage> {
    try {
      return await loadImage(file, { timeoutMs: DECODE_TIMEOUT_MS, ...(signal && { signal }) });
    } catch (error) {
      if (!isFaultOfRow(error)) throw error;
      throw datasetError(error.message.replace(/^the image\b/, `the ${name}`), error);
    }
  }

  #place(row: number): RowPlace {
    return { row, where: this.#dataset.describe(row) };
  }

  #groups(groups: ReadonlyMap<number, number[]>): Findings<DuplicateRows> {
    const findings = noFindings<DuplicateRows>();
    for (const [row, repeatedBy] of [...groups].sort(([a], [b]) => a - b)) {
      note(findings, { ...this.#place(row), repeatedBy });
      // Every row that repeats another one counts.
      findings.count += repeatedBy.length - 1;
    }
    return findings;
  }
}

function lengths(tokens: readonly number[]): DatasetReport["tokens"] {
  if (tokens.length === 0) return undefined;
  const sorted = [...tokens].sort((a, b) => a - b);
  return { shortest: sorted[0]!, median: sorted[sorted.length >> 1]!, longest: sorted.at(-1)! };
}

function sizeOf({ width, height }: RgbImage): ImageSize {
  return { width, height };
}

function extensionOf(file: Uint8Array): string {
  return identifyFormat(Buffer.from(file.buffer, file.byteOffset, file.byteLength))?.extension ?? "other";
}

function hashOf(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("base64");
}

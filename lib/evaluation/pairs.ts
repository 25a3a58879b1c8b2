import { Generator } from "../core/generator.js";
import { quote } from "../core/quote.js";
import { Tensor } from "../core/tensor.js";
import type { EditDataset } from "../data/dataset.js";
import { datasetError, isFaultOfRow, listOf } from "../data/errors.js";
import { openPairs, storedBytes } from "../data/pairs.js";
import { loadImage, type RgbImage } from "../images/index.js";
import type { CheckedOptions, SkippedPair } from "./options.js";

/** Generous, so that no image counts as unreadable because the machine is busy. */
const DECODE_TIMEOUT_MS = 600_000;

/** A pair of images with its instruction and captions. */
export interface CaptionedPair {
  original: RgbImage;
  target: RgbImage;
  prompt: string;
  captions: readonly [before: string, after: string];
}

/** The pairs of an evaluation. */
export class CaptionedPairs implements AsyncDisposable {
  readonly #dataset: EditDataset;
  readonly #captions: readonly [string, string];
  /** Numbers of rows, in the order in which they are evaluated. */
  readonly rows: readonly number[];

  private constructor(dataset: EditDataset, captions: readonly [string, string], rows: readonly number[]) {
    this.#dataset = dataset;
    this.#captions = captions;
    this.rows = rows;
  }

  /** @throws `ERR_FILE_NOT_FOUND`, `ERR_DATASET` naming a column that is missing, `ERR_IO`, `ERR_ABORTED` */
  static async open(options: CheckedOptions): Promise<CaptionedPairs> {
    const { from, originalImageColumn, editedImageColumn, editPromptColumn, cacheDir, signal } = options;
    const source = { from, originalImageColumn, editedImageColumn, editPromptColumn, cacheDir, signal };
    const dataset = await openPairs({ ...source, otherColumns: true });
    try {
      const { originalCaptionColumn: before, editedCaptionColumn: after, count, seed } = options;
      for (const [name, column] of Object.entries({ originalCaptionColumn: before, editedCaptionColumn: after }))
        if (!dataset.textColumns.includes(column))
          throw datasetError(
            `${from} has no column ${quote(column)} with captions; set ${name} to one of those it has: ${listOf(dataset.columns, 50)}`,
          );
      if (dataset.length === 0) throw datasetError(`${from} holds no pairs`);
      const all = Array.from({ length: dataset.length }, (_, row) => row);
      const rows = count === undefined ? all : (await drawn(seed, dataset.length)).slice(0, count);
      return new CaptionedPairs(dataset, [before, after], rows);
    } catch (error) {
      await dataset.close();
      throw error;
    }
  }

  /** Tells the content from any other. */
  get fingerprint(): string {
    return this.#dataset.fingerprint;
  }

  where(row: number): string {
    return this.#dataset.describe(row);
  }

  /** A pair, or why it cannot be used. */
  async read(row: number, signal: AbortSignal | undefined): Promise<CaptionedPair | SkippedPair> {
    try {
      const { original, edited, prompt, texts } = await this.#dataset.row(row);
      if (prompt === null) throw datasetError("there is no instruction");
      const captions = this.#captions.map((column) => {
        const text = texts[column];
        if (text == null || text.trim() === "")
          throw datasetError(`there is no caption in the column ${quote(column)}`);
        return text;
      }) as [string, string];
      const options = { timeoutMs: DECODE_TIMEOUT_MS, ...(signal && { signal }) };
      const image = async (picture: typeof original) => loadImage(await storedBytes(picture), options);
      return { original: await image(original), target: await image(edited), prompt, captions };
    } catch (error) {
      if (!isFaultOfRow(error)) throw error;
      return { row, where: this.where(row), reason: error.message };
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#dataset.close();
  }
}

/** `torch.randperm(length)` under `torch.manual_seed(seed)`. */
async function drawn(seed: number, length: number): Promise<number[]> {
  using permutation = await Tensor.randperm(length, { generator: new Generator("cpu", seed) });
  return Array.from((await permutation.toArray()) as BigInt64Array, Number);
}

import { rm } from "node:fs/promises";
import { join } from "node:path";
import { throwIfAborted } from "../core/errors.js";
import { allInOrder } from "../core/settled.js";
import { identifyFormat } from "../images/format.js";
import { ahead } from "./ahead.js";
import type { EditDataset } from "./dataset.js";
import { datasetError, isFaultOfRow, listOf } from "./errors.js";
import { openPairFolders, type PairFolders } from "./pair-folders.js";
import { openPairs, type PairsOptions, storedBytes } from "./pairs.js";
import { COLUMNS, type EditRow } from "./write/edit-writer.js";
import { createEditWriter, type DatasetFormat } from "./write/formats.js";
import { makeFolder } from "./write/new-folder.js";

export interface ConvertOptions extends Omit<PairsOptions, "from" | "cacheDir" | "otherColumns"> {
  /** Pairs in any layout that can be trained on, or two folders of images. */
  from: string | PairFolders;
  /** The folder to create. */
  output: string;
  format: DatasetFormat;
  /** Takes only the first rows. Default: all. */
  count?: number | undefined;
  /** Leaves out rows that cannot be used, instead of failing at the first of them. Default false. */
  skipUnusable?: boolean | undefined;
  /** Called for every row that is left out. */
  onSkip?: ((reason: string) => void) | undefined;
  onProgress?: ((done: number, total: number) => void) | undefined;
}

/** What was written. */
export interface Conversion {
  rows: number;
  skippedRows: number;
  /** Columns that hold neither text nor numbers, such as further images, and have no place in the new layout. */
  leftOutColumns: string[];
}

/** Where parquet files are unpacked meanwhile, within the new folder. */
const UNPACKED = ".unpacked";
/** Rows that are read at a time. */
const AHEAD = 4;

/**
 * Writes pairs in another layout. Files of images are copied byte for byte; nothing is decoded. Columns get the names
 * that training looks for; other columns of text come along.
 *
 * @throws `ERR_DATASET` for a row that cannot be used, `ERR_FILE_NOT_FOUND`, `ERR_IO` if the output is not free or cannot
 *   be written, `ERR_ABORTED`
 */
export async function convertDataset(options: ConvertOptions): Promise<Conversion> {
  const { output, format, count, skipUnusable = false, signal, onSkip, onProgress, from, ...source } = options;
  return makeFolder(output, async (folder) => {
    const unpacked = join(folder, UNPACKED);
    const dataset =
      typeof from === "string"
        ? await openPairs({ ...source, from, signal, otherColumns: true, cacheDir: unpacked })
        : await openPairFolders(from);
    try {
      const texts = dataset.textColumns.filter((name) => !isTaken(name));
      const total = Math.min(count ?? dataset.length, dataset.length);
      let written = 0;
      let done = 0;
      await using writer = await createEditWriter(format, folder);
      for await (const row of ahead(total, AHEAD, (index) => readRow(dataset, index, texts))) {
        throwIfAborted(signal);
        if ("problem" in row) {
          if (!skipUnusable) throw row.problem;
          onSkip?.(row.problem.message);
        } else {
          await writer.write(row);
          written++;
        }
        onProgress?.(++done, total);
      }
      if (written === 0)
        throw datasetError(`none of the ${total} rows of ${typeof from === "string" ? from : from.after} can be used`);
      await writer.finish();
      return { rows: written, skippedRows: total - written, leftOutColumns: leftOut(dataset, texts, source) };
    } finally {
      await dataset.close();
      await rm(unpacked, { recursive: true, force: true });
    }
  });
}

/** Whether the new layout uses this name itself. */
function isTaken(name: string): boolean {
  const own: string[] = Object.values(COLUMNS);
  return own.includes(name) || own.some((each) => name === `${each}_file_name`);
}

function leftOut(dataset: EditDataset, texts: readonly string[], source: Omit<PairsOptions, "from">): string[] {
  const { originalImageColumn, editedImageColumn, editPromptColumn } = source;
  const used = [
    originalImageColumn ?? COLUMNS.before,
    editedImageColumn ?? COLUMNS.after,
    editPromptColumn ?? COLUMNS.prompt,
  ];
  return dataset.columns.filter((name) => !used.includes(name) && !texts.includes(name));
}

async function readRow(
  dataset: EditDataset,
  index: number,
  texts: readonly string[],
): Promise<EditRow | { problem: Error }> {
  try {
    const { original, edited, prompt, texts: all } = await dataset.row(index);
    if (prompt === null) throw datasetError("has no prompt");
    const [before, after] = await allInOrder([storedBytes(original), storedBytes(edited)]);
    for (const bytes of [before, after]) checkFormat(bytes);
    return { before, after, prompt, texts: Object.fromEntries(texts.map((name) => [name, all[name] ?? null])) };
  } catch (error) {
    if (!isFaultOfRow(error)) throw error;
    return { problem: datasetError(`${dataset.describe(index)}: ${error.message}`, error) };
  }
}

function checkFormat(bytes: Uint8Array): void {
  const format = identifyFormat(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  if (!format?.readable) throw datasetError(`an image of it is ${format?.name ?? "in no known format"}`);
}

/** The warning about columns that were left out; undefined if there are none. */
export function describeLeftOut({ leftOutColumns }: Conversion): string | undefined {
  if (leftOutColumns.length === 0) return undefined;
  return `left out, since they are no text or their names are taken: the columns ${listOf(leftOutColumns)}`;
}

/** An image as a dataset holds it: encoded, or the path of its file. */
export type StoredPicture = { readonly bytes: Uint8Array; readonly name: string } | { readonly path: string };

/** One example: edit `original` by `prompt` and the result is `edited`. */
export interface EditRow {
  readonly original: StoredPicture;
  readonly edited: StoredPicture;
  /** Null where the dataset has none; it may also be empty. */
  readonly prompt: string | null;
  /** The values of {@link EditDataset.textColumns}; null where a row has none. */
  readonly texts: Readonly<Record<string, string | null>>;
}

/** Examples of edits with random access. Memory use does not depend on the size of the images. */
export interface EditDataset {
  readonly length: number;
  /** The names of all columns. */
  readonly columns: readonly string[];
  /** The other columns whose text the rows come with: none, unless the dataset was opened for them. */
  readonly textColumns: readonly string[];
  /**
   * Identifies the content: a hash over the chosen rows in their order, their prompts, and the names and sizes of the
   * images. Stays the same for a copy of the dataset.
   */
  readonly fingerprint: string;
  /** As {@link fingerprint}, with modification times: changes when a file is rewritten. */
  readonly stamp: string;
  /**
   * @param index from 0 to `length − 1`
   * @throws `ERR_DATASET`, `ERR_FILE_NOT_FOUND` for a row that cannot be used; the message does not name the row
   */
  row(index: number): Promise<EditRow>;
  /** Where a row comes from, for messages: `metadata.jsonl, line 18`. */
  describe(index: number): string;
  /** The group of a row, of rows that are best read one after the other, such as those of one file that is read in whole. */
  group?(index: number): number;
  /** Closes its files. */
  close(): Promise<void>;
}

/** The names of the columns to train from. */
export interface EditColumns {
  readonly original: string;
  readonly edited: string;
  readonly prompt: string;
}

/** Chooses rows of a dataset of `length` rows; undefined: all, in order. */
export type RowSelector = (length: number) => Promise<Uint32Array | undefined>;

/** A view of a dataset with the given rows, in the given order. */
export function selectRows(dataset: EditDataset, rows: Uint32Array): EditDataset {
  const at = (index: number) => {
    const row = rows[index];
    if (row === undefined) throw new RangeError(`row ${index} is out of range: there are ${rows.length}`);
    return row;
  };
  const { columns, textColumns, fingerprint, stamp, group } = dataset;
  return {
    length: rows.length,
    columns,
    textColumns,
    fingerprint,
    stamp,
    row: (index) => dataset.row(at(index)),
    ...(group && { group: (index: number) => group(at(index)) }),
    describe: (index) => dataset.describe(at(index)),
    close: () => dataset.close(),
  };
}

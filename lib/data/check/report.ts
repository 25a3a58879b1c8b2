import type { ImageSize } from "../../images/pixels.js";

/** Findings of one kind. */
export interface Findings<T> {
  /** How many there are. */
  count: number;
  /** The first hundred of them. */
  first: T[];
}

/** A row of the data set. */
export interface RowPlace {
  /** Its number, from 0. */
  row: number;
  /** The place of the row: `metadata.jsonl, line 18`. */
  where: string;
}

/** Rows that repeat an earlier one. */
export interface DuplicateRows extends RowPlace {
  /** The rows that repeat this one. */
  repeatedBy: number[];
}

/** What `checkDataset` has found. */
export interface DatasetReport {
  rows: number;
  /** Rows that training can use. */
  usableRows: number;
  columns: string[];
  /** Bytes of all image files. */
  imageBytes: number;
  /** Images of each format, by its usual extension. */
  formats: Record<string, number>;
  /** Images of each size, the most frequent first; at most 20 sizes. */
  sizes: (ImageSize & { images: number })[];
  /** The least and the largest width and height; undefined if no image can be read. */
  smallest: ImageSize | undefined;
  largest: ImageSize | undefined;
  /** Lengths of the instructions in tokens of CLIP, the two markers included; undefined if there are none. */
  tokens: { shortest: number; median: number; longest: number } | undefined;
  /** Rows that training cannot use, and why: an image cannot be read, or there is no instruction. */
  unusable: Findings<RowPlace & { reason: string }>;
  /** Rows whose instruction is longer than the 77 tokens that the text encoder takes; the rest of it is cut off. */
  longPrompts: Findings<RowPlace & { tokens: number }>;
  /** Rows whose two images differ in size. */
  differentSizes: Findings<RowPlace & { original: ImageSize; edited: ImageSize }>;
  /** Rows whose two images have the same pixels. */
  unchanged: Findings<RowPlace>;
  /** Rows with the same files and the same instruction. */
  duplicates: Findings<DuplicateRows>;
  /** Rows whose images can hardly be told apart from those of another row: sizes, compression, or instructions differ. */
  nearDuplicates: Findings<DuplicateRows>;
  /** The contact sheet, and the rows on it, from left to right and from top to bottom. */
  sheet: { path: string; rows: number[] } | undefined;
}

/** Findings that are listed. */
const LISTED = 100;

/** Adds a finding. */
export function note<T>(findings: Findings<T>, finding: T): void {
  findings.count++;
  if (findings.first.length < LISTED) findings.first.push(finding);
}

export function noFindings<T>(): Findings<T> {
  return { count: 0, first: [] };
}

/** Whether there is anything that a person should look at. */
export function hasFindings(report: DatasetReport): boolean {
  const { unusable, longPrompts, differentSizes, unchanged, duplicates, nearDuplicates } = report;
  return [unusable, longPrompts, differentSizes, unchanged, duplicates, nearDuplicates].some(({ count }) => count > 0);
}

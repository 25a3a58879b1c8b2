import { createReadStream } from "node:fs";
import { type CsvError, parse } from "csv-parse";
import { InstructPix2PixError } from "../../core/errors.js";
import { quote } from "../../core/quote.js";
import { datasetError, listOf, reasonOf } from "../errors.js";
import type { MetadataRecord, MetadataRecords } from "./read.js";

/** Records between two turns of the event loop. */
const SLICE = 256;
/** Longer records are not metadata but the result of an unclosed quote. */
const MAX_RECORD = 16 << 20;

/** More columns are not metadata. */
const MAX_COLUMNS = 10_000;

/** What spreadsheets write instead of commas, depending on their language. */
const SEPARATORS = [
  { character: ";", name: "semicolons" },
  { character: "\t", name: "tabs" },
  { character: "|", name: "vertical bars" },
];

interface Parsed {
  record: string[];
  info: { lines: number };
}

/**
 * Reads comma-separated values with a header line, quoted as in RFC 4180; blank lines are skipped, and all values are
 * strings. An empty value is null.
 *
 * @throws `ERR_DATASET` for an unusable header or an unclosed quote; records with a wrong number of values are only
 * reported
 */
export async function* readCsv(path: string): MetadataRecords {
  const input = createReadStream(path);
  const parser = parse({
    bom: true,
    info: true,
    relaxColumnCount: true,
    relaxQuotes: true,
    skipEmptyLines: true,
    maxRecordSize: MAX_RECORD,
  });
  input.on("error", (error) => parser.destroy(error));
  let header: string[] | undefined;
  let slice: MetadataRecord[] = [];
  let line = 1;
  /** Line ends that were counted twice. */
  let counted = 0;
  try {
    for await (const parsed of input.pipe(parser)) {
      const { record, info } = parsed as Parsed;
      // The line that the record begins on. The parser reports the line it has reached, and counts CRLF within quotes
      // twice.
      line = info.lines - counted - occurrences(record, /[\r\n]/g);
      counted += occurrences(record, /\r\n/g);
      if (header === undefined) header = checkHeader(path, record);
      else slice.push(toRecord(record, header, line));
      if (slice.length === SLICE) {
        yield slice;
        slice = [];
      }
    }
  } catch (error) {
    if (error instanceof InstructPix2PixError) throw error;
    const { code } = error as NodeJS.ErrnoException;
    if (!code?.startsWith("CSV_")) throw datasetError(`${path} cannot be read (${code ?? reasonOf(error)})`, error);
    const what = code === "CSV_QUOTE_NOT_CLOSED" ? "a quote is never closed" : reasonOf(error as CsvError);
    throw datasetError(`${path}, after line ${line}: is malformed CSV: ${what}`, error);
  } finally {
    input.destroy();
  }
  if (header === undefined) throw datasetError(`${path} has no header line`);
  yield slice;
}

function occurrences(record: readonly string[], pattern: RegExp): number {
  return record.reduce((sum, value) => sum + (value.match(pattern)?.length ?? 0), 0);
}

function checkHeader(path: string, header: string[]): string[] {
  if (header.length > MAX_COLUMNS)
    throw datasetError(`${path}: the header names ${header.length} columns, more than the allowed ${MAX_COLUMNS}`);
  const [only, ...others] = header;
  const separator = others.length === 0 ? SEPARATORS.find(({ character }) => only!.includes(character)) : undefined;
  if (separator)
    throw datasetError(
      `${path}: the values in the header ${quote(only!)} are separated by ${separator.name}, not by commas: save the table as comma-separated values`,
    );
  const seen = new Set<string>();
  for (const name of header) {
    if (seen.has(name)) throw datasetError(`${path}: the header names the column ${quote(name)} twice`);
    seen.add(name);
  }
  return header;
}

function toRecord(record: readonly string[], header: readonly string[], position: number): MetadataRecord {
  if (record.length !== header.length)
    return {
      position,
      problem: `is malformed CSV: it has ${record.length} values, the header names ${header.length} columns (${listOf(header)})`,
    };
  return { position, values: Object.fromEntries(header.map((name, i) => [name, record[i] === "" ? null : record[i]])) };
}

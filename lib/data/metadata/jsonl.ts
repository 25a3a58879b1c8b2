import { createReadStream } from "node:fs";
import { TextDecoder } from "node:util";
import { InstructPix2PixError } from "../../core/errors.js";
import { quote } from "../../core/quote.js";
import { JsonSyntaxError, nestsTooDeep, parseJson } from "../../files/json.js";
import { datasetError, reasonOf } from "../errors.js";
import type { MetadataRecord, MetadataRecords } from "./read.js";

const NEWLINE = 0x0a;
/** Longer lines are not metadata. */
const MAX_LINE = 16 << 20;

/**
 * Reads a file with one JSON object on each line; blank lines are skipped, as in Arrow.
 *
 * @param wanted keys that must not appear twice in an object
 * @throws `ERR_DATASET` if the first record is malformed; later ones are only reported
 */
export async function* readJsonLines(path: string, wanted: readonly string[]): MetadataRecords {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let records = 0;
  for await (const lines of linesOf(path)) {
    const slice: MetadataRecord[] = [];
    for (const { number, bytes } of lines) {
      const record = parseLine(bytes, number, decoder, wanted);
      if (record === undefined) continue;
      if (records++ === 0 && "problem" in record) throw datasetError(`${path}, line ${number}: ${record.problem}`);
      slice.push(record);
    }
    yield slice;
  }
}

/** Whether the text of an object has the key more than once, with the colon that follows it. */
function isRepeated(text: string, key: string): boolean {
  const quoted = JSON.stringify(key);
  let count = 0;
  for (let at = text.indexOf(quoted); at >= 0; at = text.indexOf(quoted, at)) {
    at += quoted.length;
    while (isJsonSpace(text[at])) at++;
    if (text[at] === ":" && ++count > 1) return true;
  }
  return false;
}

function isJsonSpace(character: string | undefined): boolean {
  return character === " " || character === "\t" || character === "\r" || character === "\n";
}

function parseLine(
  bytes: Buffer,
  position: number,
  decoder: TextDecoder,
  wanted: readonly string[],
): MetadataRecord | undefined {
  let text: string;
  try {
    text = decoder.decode(bytes);
  } catch {
    return { position, problem: "is not valid UTF-8" };
  }
  if (/^[ \t\r]*$/.test(text)) return undefined;
  let values: unknown;
  if (nestsTooDeep(text)) return { position, problem: "is nested too deep" };
  try {
    values = JSON.parse(text);
  } catch {
    const problem = jsonProblem(text);
    if (problem !== undefined) return { position, problem };
    values = parseJson(text);
  }
  if (typeof values !== "object" || values === null || Array.isArray(values))
    return { position, problem: "is not a JSON object" };
  const twice = wanted.find((key) => isRepeated(text, key));
  // A key within a nested object does not count.
  if (twice !== undefined && !Object.values(values).some((value) => typeof value === "object" && value !== null))
    return { position, problem: `has the key ${quote(twice)} twice` };
  return { position, values: values as Record<string, unknown> };
}

/** The error in a text that `JSON.parse` refuses; undefined if it only contains Python's `NaN` and `Infinity`. */
function jsonProblem(text: string): string | undefined {
  try {
    parseJson(text);
    return undefined;
  } catch (error) {
    if (!(error instanceof JsonSyntaxError)) throw error;
    return `is malformed JSON: ${error.message.replace(/line 1, /, "")}`;
  }
}

/** The lines of a file, those of one read at a time. */
async function* linesOf(path: string): AsyncGenerator<{ number: number; bytes: Buffer }[], void, undefined> {
  let rest: Buffer[] = [];
  let restLength = 0;
  let number = 1;
  const stream = createReadStream(path, { highWaterMark: 1 << 16 }) as AsyncIterable<Buffer>;
  try {
    for await (const chunk of stream) {
      const lines: { number: number; bytes: Buffer }[] = [];
      let start = 0;
      for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, start)) {
        const piece = chunk.subarray(start, end);
        lines.push({ number: number++, bytes: rest.length > 0 ? Buffer.concat([...rest, piece]) : piece });
        rest = [];
        restLength = 0;
        start = end + 1;
      }
      if (start < chunk.length) {
        rest.push(chunk.subarray(start));
        restLength += chunk.length - start;
        if (restLength > MAX_LINE) throw datasetError(`${path}, line ${number}: is longer than ${MAX_LINE} bytes`);
      }
      yield lines;
    }
    if (rest.length > 0) yield [{ number, bytes: Buffer.concat(rest) }];
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (error instanceof InstructPix2PixError) throw error;
    throw datasetError(`${path} cannot be read (${code ?? reasonOf(error)})`, error);
  }
}

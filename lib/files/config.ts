import { type ErrorCode, InstructPix2PixError } from "../core/errors.js";
import { JsonSyntaxError, parseJson } from "./json.js";
import { readTextFile } from "./text-file.js";

/** Far above any real configuration file. */
const MAX_BYTES = 16 * 2 ** 20;

/**
 * Reads a configuration file: a JSON object, with Python's `NaN`, `Infinity` and `-Infinity` allowed.
 *
 * @throws `ERR_FILE_NOT_FOUND`, `ERR_IO`, and `ERR_CONFIG` (with line and column) unless the file is a JSON object of
 * at most 16 MiB
 */
export async function readConfig(path: string): Promise<Record<string, unknown>> {
  return parseObject(await readTextFile(path, { maxBytes: MAX_BYTES, code: "ERR_CONFIG" }), path);
}

/**
 * Parses the text of a configuration.
 *
 * @param where the file, for messages
 * @param code error code if the text is not a JSON object
 */
export function parseObject(text: string, where: string, code: ErrorCode = "ERR_CONFIG"): Record<string, unknown> {
  let value: unknown;
  try {
    value = parseJson(text);
  } catch (cause) {
    if (!(cause instanceof JsonSyntaxError)) throw cause;
    throw new InstructPix2PixError(code, `${where}: is not valid JSON: ${cause.message}`, { cause });
  }
  if (!isObject(value)) throw new InstructPix2PixError(code, `${where}: holds ${kindOf(value)}, not a JSON object`);
  return value;
}

/** Whether a parsed JSON value is an object (and not an array or null). */
export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A parsed JSON value in short, for messages of one line. */
export function show(value: unknown): string {
  const text = JSON.stringify(value, (_, item) =>
    typeof item === "number" && !Number.isFinite(item) ? String(item) : item,
  );
  // JSON does not escape these, but some are line terminators.
  const line = text.replace(
    /[\u007f-\u009f\u2028\u2029]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
  return line.length > 80 ? `${line.slice(0, 77)}…` : line;
}

function kindOf(value: unknown): string {
  if (value === null) return "null";
  return Array.isArray(value) ? "an array" : `a ${typeof value}`;
}

import { join } from "node:path";
import { InstructPix2PixError } from "../../core/errors.js";
import { disk, type FileSystem } from "../../files/file-system.js";
import { errnoOf, ioError } from "../../files/io-error.js";
import { JsonSyntaxError, parseJson } from "../../files/json.js";
import { readSmallFile, writeText } from "../../files/tree.js";
import { findNonJson, type JsonValue } from "./json-value.js";
import type { RecordedValue } from "./options.js";

/** The file in a checkpoint with a run's state except tensors. */
export const STATE = "state.json";

const FORMAT = "instruct-pix2pix training state";
const FORMAT_VERSION = 1;
const MAX_BYTES = 64 << 20;

/** The state, besides tensors, for an exact resume. */
export interface TrainingState {
  /** Optimizer steps done. */
  globalStep: number;
  /** The epoch of the next batch, from 0. */
  epoch: number;
  /** The position in the data: permutation seed, cursor and other state of the data layer. */
  order: JsonValue;
  /** Steps of the learning-rate schedule. */
  learningRate: { step: number };
  /** The gradient scaler of float16 training; null without it. */
  scaler: { scale: number; growthTracker: number } | null;
  /** Updates of the exponential moving average; null without one. */
  ema: { step: number } | null;
  /** The states of rank 0's random generators by name, as libtorch serialises them. */
  generators: Record<string, Uint8Array>;
  /** The result of `recordOptions`. */
  options: Record<string, RecordedValue>;
  /** Versions by name: the package, libtorch, the instruction set, … */
  versions: Record<string, string>;
  /** Number of threads, which affects the rounding of sums. */
  threads: number;
  /** The trackers' state, by name. */
  trackers: Record<string, JsonValue>;
}

/** A field of the state; `read` returns undefined for an invalid value. */
interface Piece<T> {
  /** The key in the file. */
  readonly key: string;
  readonly expected: string;
  readonly read: (value: unknown) => T | undefined;
  readonly write: (value: T) => unknown;
}

/** The states of one process's generators by name, as base64. */
export const GENERATOR_STATES: Piece<Record<string, Uint8Array>> = {
  key: "generators",
  expected: "an object with base64 texts",
  read: (value) => mapOf(value, fromBase64),
  write: (states) => Object.fromEntries(Object.entries(states).map(([name, state]) => [name, toBase64(state)])),
};

type Pieces = { readonly [K in keyof TrainingState]-?: Piece<TrainingState[K]> };

const pieces: Pieces = {
  globalStep: plain("global_step", "a whole number of at least 0", count),
  epoch: plain("epoch", "a whole number of at least 0", count),
  order: plain("order", "what the data layer wrote", json),
  learningRate: plain("lr_schedule", "an object with the number of steps", steps),
  scaler: {
    key: "scaler",
    expected: "null or an object with the scale and the growth tracker",
    read: (value) => {
      if (value === null) return null;
      const { scale, growth_tracker } = fields(value, ["scale", "growth_tracker"]) ?? {};
      const growthTracker = count(growth_tracker);
      return finite(scale) && scale > 0 && growthTracker !== undefined ? { scale, growthTracker } : undefined;
    },
    write: (value) => value && { scale: value.scale, growth_tracker: value.growthTracker },
  },
  ema: plain("ema", "null or an object with the number of steps", (value) => (value === null ? null : steps(value))),
  generators: GENERATOR_STATES,
  options: plain("options", "an object with texts, numbers, truth values and nulls", (value) => mapOf(value, scalar)),
  versions: plain("versions", "an object with texts", (value) => mapOf(value, text)),
  threads: plain("threads", "a whole number of at least 1", (value) => (value === 0 ? undefined : count(value))),
  trackers: plain("trackers", "an object", (value) => mapOf(value, json)),
};

const entries = Object.entries(pieces) as [keyof TrainingState, Piece<unknown>][];

/**
 * Writes `state.json` into a checkpoint that is being written; the commit syncs it.
 *
 * @throws `ERR_INTERNAL` naming a field that could not be read back, `ERR_IO`
 */
export async function writeState(folder: string, state: TrainingState, fs: FileSystem = disk): Promise<void> {
  const path = join(folder, STATE);
  const content: Record<string, unknown> = { format: FORMAT, format_version: FORMAT_VERSION };
  for (const [name, { key, write, read, expected }] of entries) {
    const written = state[name] === undefined ? undefined : write(state[name]);
    const flaw = findNonJson(written);
    if (flaw !== undefined || read(written) === undefined)
      throw new InstructPix2PixError(
        "ERR_INTERNAL",
        `the training state's ${name}${flaw ?? ""} cannot be written: it should be ${expected}`,
      );
    content[key] = written;
  }
  try {
    await writeText(fs, path, `${JSON.stringify(content, null, 1)}\n`);
  } catch (error) {
    throw ioError("write", path, error);
  }
}

/**
 * Reads a checkpoint's `state.json`. There are no defaults, since an exact resume needs every field.
 *
 * @throws `ERR_CHECKPOINT` naming the field that is missing, unknown or invalid; `ERR_IO`
 */
export async function readState(folder: string, fs: FileSystem = disk): Promise<TrainingState> {
  const path = join(folder, STATE);
  const broken = (what: string, cause?: unknown) =>
    new InstructPix2PixError("ERR_CHECKPOINT", `${path}: ${what}`, { cause });
  let bytes: Buffer | undefined;
  try {
    if ((await fs.lstat(path)).kind !== "file") throw broken("is not a regular file");
    bytes = await readSmallFile(fs, path, MAX_BYTES);
  } catch (error) {
    throw errnoOf(error) === "ENOENT" ? broken("is missing", error) : ioError("read", path, error);
  }
  if (!bytes) throw broken(`has more than ${MAX_BYTES} bytes`);
  let content: unknown;
  try {
    content = parseJson(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes));
  } catch (error) {
    throw broken(error instanceof JsonSyntaxError ? error.message : "is not valid UTF-8", error);
  }
  if (!isRecord(content) || content.format !== FORMAT) throw broken(`"format" is not "${FORMAT}"`);
  if (content.format_version !== FORMAT_VERSION)
    throw broken(
      `format version ${shown(content.format_version)} cannot be read; this version of the package reads ${FORMAT_VERSION}`,
    );
  const state: Record<string, unknown> = {};
  for (const [name, { key, read, expected }] of entries) {
    if (!Object.hasOwn(content, key)) throw broken(`"${key}" is missing`);
    const value = read(content[key]);
    if (value === undefined) throw broken(`"${key}" is ${shown(content[key])}, expected ${expected}`);
    state[name] = value;
  }
  const known = new Set(["format", "format_version", ...entries.map(([, { key }]) => key)]);
  for (const key of Object.keys(content)) if (!known.has(key)) throw broken(`${shown(key)} is not known`);
  return state as unknown as TrainingState;
}

function plain<T>(key: string, expected: string, read: (value: unknown) => T | undefined): Piece<T> {
  return { key, expected, read, write: (value) => value };
}

function finite(value: unknown): value is number {
  return typeof value === "number" && Number.isFinite(value);
}

function count(value: unknown): number | undefined {
  return Number.isSafeInteger(value) && (value as number) >= 0 ? (value as number) : undefined;
}

function steps(value: unknown): { step: number } | undefined {
  const step = count(fields(value, ["step"])?.step);
  return step === undefined ? undefined : { step };
}

function text(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}

function scalar(value: unknown): RecordedValue | undefined {
  return value === null || typeof value === "string" || typeof value === "boolean" || finite(value) ? value : undefined;
}

function json(value: unknown): JsonValue | undefined {
  return findNonJson(value) === undefined ? (value as JsonValue) : undefined;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** An object with exactly these keys. */
function fields(value: unknown, keys: readonly string[]): Record<string, unknown> | undefined {
  if (!isRecord(value) || Object.keys(value).length !== keys.length) return undefined;
  return keys.every((key) => Object.hasOwn(value, key)) ? value : undefined;
}

function mapOf<T>(value: unknown, read: (item: unknown) => T | undefined): Record<string, T> | undefined {
  if (!isRecord(value)) return undefined;
  const items = Object.entries(value).map(([key, item]): [string, T | undefined] => [key, read(item)]);
  // fromEntries defines own properties, also for a key such as __proto__.
  return items.every(([, item]) => item !== undefined) ? (Object.fromEntries(items) as Record<string, T>) : undefined;
}

function shown(value: unknown): string {
  const shownText = JSON.stringify(value) ?? "missing";
  return shownText.length > 80 ? `${shownText.slice(0, 77)}...` : shownText;
}

/** Bytes as base64. */
function toBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64");
}

/** Only canonical base64, so that damage is not decoded as shorter data; undefined for anything else. */
function fromBase64(value: unknown): Uint8Array | undefined {
  if (typeof value !== "string") return undefined;
  const bytes = Buffer.from(value, "base64");
  return bytes.toString("base64") === value ? new Uint8Array(bytes) : undefined;
}

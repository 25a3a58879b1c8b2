import { InstructPix2PixError } from "../errors.js";
import { quote } from "../quote.js";
import { warnOnce } from "../warn.js";

/** A parsed JSON object. */
export type JsonObject = Record<string, unknown>;

/** How one key of a configuration is read. `parse` returns the value or undefined if it is not acceptable. */
export interface Field<T> {
  /** Used where the key is absent; old files leave out what did not exist yet. */
  readonly default: T;
  /** What is accepted, in words: "an integer of at least 1". */
  readonly expected: string;
  readonly parse: (value: unknown) => T | undefined;
}

export type Schema = Record<string, Field<unknown>>;
export type Parsed<S extends Schema> = { [K in keyof S]: S[K] extends Field<infer T> ? T : never };

/** What sizes a model is built of; far above any that fits into memory. */
const MAX_INTEGER = 2 ** 31 - 1;
/** Layers, of which each takes time and memory before any weight is looked at; far above any model's. */
const MAX_LAYERS = 256;
/** Lists have an element for a level of a model. */
const MAX_LIST = 64;
const NAMED_UNKNOWN = 8;

const isInteger = (value: unknown, min: number, max = MAX_INTEGER): value is number =>
  Number.isInteger(value) && Number(value) >= min && Number(value) <= max;

export function integer(fallback: number, min = 1): Field<number> {
  return {
    default: fallback,
    expected: `an integer of at least ${min}`,
    parse: (value) => (isInteger(value, min) ? value : undefined),
  };
}

/** A number of layers, up to 256. */
export function layers(fallback: number): Field<number> {
  return {
    default: fallback,
    expected: `an integer from 1 to ${MAX_LAYERS}`,
    parse: (value) => (isInteger(value, 1, MAX_LAYERS) ? value : undefined),
  };
}

/** A number of layers, or a list with one number per level. */
export function layersOrList(fallback: number): Field<number | number[]> {
  const { parse, expected } = layers(fallback);
  return {
    default: fallback,
    expected: `${expected} or a list of them`,
    parse: (value) => parse(value) ?? listOf(value, parse),
  };
}

export function number(fallback: number, positive = false): Field<number> {
  return {
    default: fallback,
    expected: positive ? "a number above 0" : "a number",
    parse: (value) =>
      typeof value === "number" && Number.isFinite(value) && (!positive || value > 0) ? value : undefined,
  };
}

export function boolean(fallback: boolean): Field<boolean> {
  return {
    default: fallback,
    expected: "true or false",
    parse: (value) => (typeof value === "boolean" ? value : undefined),
  };
}

export function oneOf<T extends string>(fallback: T, values: readonly T[]): Field<T> {
  return {
    default: fallback,
    expected: values.map((value) => JSON.stringify(value)).join(" or "),
    parse: (value) => values.find((known) => known === value),
  };
}

/** A number, or a list with one number per level. */
export function integerOrList(fallback: number, min = 1): Field<number | number[]> {
  return {
    default: fallback,
    expected: `an integer of at least ${min} or a list of them`,
    parse: (value) =>
      isInteger(value, min) ? value : listOf(value, (item) => (isInteger(item, min) ? item : undefined)),
  };
}

export function booleanOrList(fallback: boolean): Field<boolean | boolean[]> {
  return {
    default: fallback,
    expected: "true or false or a list of them",
    parse: (value) =>
      typeof value === "boolean" ? value : listOf(value, (item) => (typeof item === "boolean" ? item : undefined)),
  };
}

export function integers(fallback: number[], min = 1): Field<number[]> {
  return {
    default: fallback,
    expected: `a list of integers of at least ${min}`,
    parse: (value) => listOf(value, (item) => (isInteger(item, min) ? item : undefined)),
  };
}

export function listOfOne<T extends string>(fallback: T[], values: readonly T[]): Field<T[]> {
  return {
    default: fallback,
    expected: `a list of ${values.map((value) => JSON.stringify(value)).join(" or ")}`,
    parse: (value) => listOf(value, (item) => values.find((known) => known === item)),
  };
}

/** The field, or null. */
export function nullable<T>(field: Field<T>, fallback: T | null = null): Field<T | null> {
  return {
    default: fallback,
    expected: `${field.expected} or null`,
    parse: (value) => (value === null ? null : field.parse(value)),
  };
}

/** A key that exists in the family but whose every other value asks for something that is not built. */
export function only<T extends string | number | boolean | null>(accepted: T): Field<T> {
  return {
    default: accepted,
    expected: `${JSON.stringify(accepted)} (nothing else is supported)`,
    parse: (value) => (value === accepted ? accepted : undefined),
  };
}

/** Anything; for keys that describe other software. */
export const ignored: Field<unknown> = { default: undefined, expected: "anything", parse: (value) => value ?? null };

function listOf<T>(value: unknown, parse: (item: unknown) => T | undefined): T[] | undefined {
  if (!Array.isArray(value) || value.length === 0 || value.length > MAX_LIST) return undefined;
  const items = value.map(parse);
  return items.every((item) => item !== undefined) ? (items as T[]) : undefined;
}

/**
 * Reads a configuration. Absent keys take their defaults; keys that nobody knows are warned about once, by name, for
 * newer writers add keys.
 *
 * @param where the file, for messages
 * @throws `ERR_CONFIG` naming key and value of the first that is not acceptable
 */
export function parseConfig<S extends Schema>(schema: S, config: JsonObject, where: string): Parsed<S> {
  const unknown = Object.keys(config).filter((key) => !Object.hasOwn(schema, key) && !key.startsWith("_"));
  for (const key of unknown.slice(0, NAMED_UNKNOWN))
    warnOnce(`${where}: unknown configuration key ${quote(key)} is ignored`);
  if (unknown.length > NAMED_UNKNOWN)
    warnOnce(`${where}: ${unknown.length - NAMED_UNKNOWN} more unknown configuration keys are ignored`);
  const result: JsonObject = {};
  for (const [key, field] of Object.entries(schema)) {
    const given = Object.hasOwn(config, key);
    const value = given ? field.parse(config[key]) : field.default;
    if (given && value === undefined) throw unsupported(where, key, config[key], field.expected);
    result[key] = value;
  }
  return result as Parsed<S>;
}

/** The error for a value that is not acceptable. */
export function unsupported(where: string, key: string, value: unknown, expected: string): InstructPix2PixError {
  const shown = JSON.stringify(value) ?? String(value);
  return new InstructPix2PixError(
    "ERR_CONFIG",
    `${where}: "${key}" is ${shown.length > 80 ? `${shown.slice(0, 77)}...` : shown}, expected ${expected}`,
  );
}

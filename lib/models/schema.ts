import { InstructPix2PixError } from "../core/errors.js";
import { quote } from "../core/quote.js";
import { warnOnce } from "../core/warn.js";

/** A parsed JSON object. */
export type JsonObject = Record<string, unknown>;

/** A configuration key. `parse` returns the value, or undefined if it is invalid. */
export interface Field<T> {
  /** Used if the key is absent; old files lack newer keys. */
  readonly default: T;
  /** Description of valid values: "an integer of at least 1". */
  readonly expected: string;
  readonly parse: (value: unknown) => T | undefined;
}

export type Schema = Record<string, Field<unknown>>;
export type Parsed<S extends Schema> = { [K in keyof S]: S[K] extends Field<infer T> ? T : never };

const NAMED_UNKNOWN = 8;

/** Far above any published model; larger values would take memory and minutes before failing. */
export const LIMITS = {
  levels: 16,
  layers: 256,
  channels: 2 ** 14,
  /** Inner width of a feed-forward layer, width of text embeddings. */
  features: 2 ** 16,
  positions: 2 ** 16,
  vocabulary: 2 ** 22,
  kernel: 63,
} as const;

const isInteger = (value: unknown, min: number, max: number): value is number =>
  Number.isSafeInteger(value) && Number(value) >= min && Number(value) <= max;

const range = (min: number, max: number) => `in ${min}..${max}`;

/** An integer in `min`..`max`, both included. */
export function integer(fallback: number, max: number, min = 1): Field<number> {
  return {
    default: fallback,
    expected: `an integer ${range(min, max)}`,
    parse: (value) => (isInteger(value, min, max) ? value : undefined),
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

/** An integer, or a list with one for each level. */
export function integerOrList(fallback: number, max: number, min = 1): Field<number | number[]> {
  const one = integer(fallback, max, min);
  return {
    default: fallback,
    expected: `${one.expected} or a list of at most ${LIMITS.levels} of them`,
    parse: (value) => one.parse(value) ?? listOf(value, one.parse),
  };
}

/** A list with an integer, or a list of them, for each level. */
export function nestedList(fallback: (number | number[])[], max: number): Field<(number | number[])[]> {
  const one = integer(1, max);
  return {
    default: fallback,
    expected: `a list of at most ${LIMITS.levels} integers ${range(1, max)} or lists of them`,
    parse: (value) => listOf(value, (item) => one.parse(item) ?? listOf(item, one.parse, max)),
  };
}

/** An integer, or a list with one, or a list of them, for each level. */
export function integerOrNestedList(fallback: number, max: number): Field<number | (number | number[])[]> {
  const [one, list] = [integer(fallback, max), nestedList([fallback], max)];
  return {
    default: fallback,
    expected: `${one.expected} or ${list.expected}`,
    parse: (value) => one.parse(value) ?? list.parse(value),
  };
}

export function booleanOrList(fallback: boolean): Field<boolean | boolean[]> {
  return {
    default: fallback,
    expected: `true or false or a list of at most ${LIMITS.levels} of them`,
    parse: (value) =>
      typeof value === "boolean" ? value : listOf(value, (item) => (typeof item === "boolean" ? item : undefined)),
  };
}

export function integers(fallback: number[], max: number, min = 1): Field<number[]> {
  return {
    default: fallback,
    expected: `a list of at most ${LIMITS.levels} integers ${range(min, max)}`,
    parse: (value) => listOf(value, integer(min, max, min).parse),
  };
}

/** A number for each of at most `longest` things. */
export function numbers(longest: number): Field<number[]> {
  const one = number(0);
  return {
    default: [],
    expected: `a list of at most ${longest} numbers`,
    parse: (value) => listOf(value, one.parse, longest),
  };
}

/** A name that other code knows or refuses. */
export function name(fallback: string): Field<string> {
  return {
    default: fallback,
    expected: "a name",
    parse: (value) => (typeof value === "string" && value !== "" ? value : undefined),
  };
}

export function names(fallback: string[]): Field<string[]> {
  return {
    default: fallback,
    expected: `a list of at most ${LIMITS.levels} names`,
    parse: (value) => listOf(value, name("").parse),
  };
}

export function listOfOne<T extends string>(fallback: T[], values: readonly T[]): Field<T[]> {
  return {
    default: fallback,
    expected: `a list of at most ${LIMITS.levels} of ${values.map((value) => JSON.stringify(value)).join(" or ")}`,
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

/** A key for which only one value is supported. */
export function only<T extends string | number | boolean | null>(accepted: T): Field<T> {
  return {
    default: accepted,
    expected: `${JSON.stringify(accepted)} (nothing else is supported)`,
    parse: (value) => (value === accepted ? accepted : undefined),
  };
}

/** Anything; for keys that describe other software. */
export const ignored: Field<unknown> = { default: undefined, expected: "anything", parse: (value) => value ?? null };

function listOf<T>(
  value: unknown,
  parse: (item: unknown) => T | undefined,
  longest: number = LIMITS.levels,
): T[] | undefined {
  if (!Array.isArray(value) || value.length === 0 || value.length > longest) return undefined;
  const items = value.map(parse);
  return items.every((item) => item !== undefined) ? (items as T[]) : undefined;
}

/** What diffusers' `EMAModel`, and checkpoints here, add to the configuration of a model whose weights are averages. */
const OF_AVERAGES: readonly string[] = [
  ...["decay", "min_decay", "optimization_step", "update_after_step", "use_ema_warmup", "inv_gamma", "power"],
];

/**
 * Reads a configuration. Absent keys take their defaults; unknown keys (from newer versions) cause a warning, once per
 * key.
 *
 * @param where the file, for messages
 * @throws `ERR_CONFIG` naming key and value of the first invalid one
 */
export function parseConfig<S extends Schema>(schema: S, config: JsonObject, where: string): Parsed<S> {
  const isKnown = (key: string) => Object.hasOwn(schema, key) || OF_AVERAGES.includes(key) || key.startsWith("_");
  const unknown = Object.keys(config).filter((key) => !isKnown(key));
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

/** The error for an invalid value. */
export function unsupported(where: string, key: string, value: unknown, expected: string): InstructPix2PixError {
  const shown = JSON.stringify(value) ?? String(value);
  return new InstructPix2PixError(
    "ERR_CONFIG",
    `${where}: "${key}" is ${shown.length > 80 ? `${shown.slice(0, 77)}...` : shown}, expected ${expected}`,
  );
}

import { types } from "node:util";
import { InstructPix2PixError } from "../core/errors.js";
import { underscored } from "../options/names.js";

/**
 * A scheduler's configuration: diffusers' snake_case keys as in `scheduler_config.json`. Unknown keys (other
 * schedulers' keys, `_diffusers_version`) are kept but not used.
 */
export type SchedulerConfig = { readonly [key: string]: unknown };

/** One configuration key: its default and how a given value is checked. */
export interface ConfigKey<T> {
  readonly fallback: T;
  /** Returns the checked value, or calls `refuse` with a description of valid values ("a number", "one of …"). */
  parse(value: unknown, refuse: (expected: string) => never): T;
}

export type Schema = { readonly [key: string]: ConfigKey<unknown> };
export type Settings<S extends Schema> = { readonly [K in keyof S]: S[K] extends ConfigKey<infer T> ? T : never };

/**
 * Checks every key of `schema` that `config` gives and fills in the others' defaults. Other classes' keys are ignored, but not
 * a key in camelCase that this class has.
 */
export function readSettings<S extends Schema>(className: string, schema: S, config: SchedulerConfig): Settings<S> {
  for (const name of Object.keys(config)) {
    const key = underscored(name);
    if (name !== key && Object.hasOwn(schema, key))
      throw new InstructPix2PixError("ERR_CONFIG", `${className}: unknown key ${show(name)}; did you mean ${key}?`);
  }
  const entries = Object.entries(schema).map(([name, key]) => {
    if (!Object.hasOwn(config, name) || config[name] === undefined) return [name, key.fallback];
    const value = config[name];
    return [name, key.parse(value, (expected) => refuse(className, name, value, `is not ${expected}`))];
  });
  return Object.fromEntries(entries) as Settings<S>;
}

/** Throws `ERR_CONFIG` naming the class, the key, its value and the reason. */
export function refuse(className: string, name: string, value: unknown, reason: string): never {
  throw new InstructPix2PixError("ERR_CONFIG", `${className}: ${name} ${show(value)} ${reason}`);
}

/** A value as JSON, shortened to one line. */
export function show(value: unknown): string {
  if (typeof value === "number" || value === undefined) return String(value);
  let text: string;
  try {
    text = JSON.stringify(value) ?? String(value);
  } catch {
    text = String(value);
  }
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}

interface Range {
  readonly min?: number;
  readonly max?: number;
  /** Exclusive lower bound. */
  readonly above?: number;
}

const within = (value: number, { min = -Infinity, max = Infinity, above = -Infinity }: Range) =>
  value >= min && value <= max && value > above;

function rangeText({ min, max, above }: Range): string {
  if (above !== undefined) return ` above ${above}`;
  if (min !== undefined && max !== undefined) return ` in ${min}..${max}`;
  if (min !== undefined) return ` of at least ${min}`;
  return max === undefined ? "" : ` of at most ${max}`;
}

/** A finite number. */
export const number = (fallback: number, range: Range = {}): ConfigKey<number> => ({
  fallback,
  parse: (value, refuse) =>
    typeof value === "number" && Number.isFinite(value) && within(value, range)
      ? value
      : refuse(`a number${rangeText(range)}`),
});

/** A number that may be infinite (Python writes `-Infinity`), but not NaN. */
export const extendedNumber = (fallback: number): ConfigKey<number> => ({
  fallback,
  parse: (value, refuse) => (typeof value === "number" && !Number.isNaN(value) ? value : refuse("a number")),
});

export const integer = (fallback: number, range: Range = {}): ConfigKey<number> => ({
  fallback,
  parse: (value, refuse) =>
    Number.isSafeInteger(value) && within(value as number, range)
      ? (value as number)
      : refuse(`a whole number${rangeText(range)}`),
});

/** `true` or `false`; `null` counts as `false`, as it does in Python. */
export const boolean = (fallback: boolean): ConfigKey<boolean> => ({
  fallback,
  parse: (value, refuse) => (value === null ? false : typeof value === "boolean" ? value : refuse("true or false")),
});

/**
 * One of `values`. `aliases` maps other schedulers' values of the same key to this class's equivalent.
 */
export const choice = <const T extends string>(
  values: readonly T[],
  fallback: NoInfer<T>,
  aliases: { readonly [other: string]: NoInfer<T> } = {},
): ConfigKey<T> => ({
  fallback,
  parse(value, refuse) {
    const known = values.find((candidate) => candidate === value);
    if (known !== undefined) return known;
    if (typeof value === "string" && Object.hasOwn(aliases, value)) return aliases[value]!;
    return refuse(`one of ${values.join(", ")}`);
  },
});

/** `null` (the default) or a value of `key`. */
export const optional = <T>(key: ConfigKey<T>): ConfigKey<T | null> => ({
  fallback: null,
  parse: (value, refuse) => (value === null ? null : key.parse(value, (expected) => refuse(`${expected} (or null)`))),
});

/** A value of `key`, or `null` for `meaning`: other classes' files have `null` there. */
export const nullAs = <T>(meaning: T, key: ConfigKey<T>): ConfigKey<T> => ({
  fallback: key.fallback,
  parse: (value, refuse) => (value === null ? meaning : key.parse(value, refuse)),
});

/** A list whose elements `element` accepts; typed arrays count as lists. */
export const list = <T>(element: ConfigKey<T>, fallback: readonly T[] = []): ConfigKey<readonly T[]> => ({
  fallback,
  parse(value, refuse) {
    if (!Array.isArray(value) && !types.isTypedArray(value)) return refuse("a list");
    return Array.from(value as ArrayLike<unknown>, (item, i) =>
      element.parse(item, (expected) =>
        refuse(`a list of the right values: element ${i}, ${show(item)}, is not ${expected}`),
      ),
    );
  },
});

/** A key that only `null` is supported for; `reason` says why. */
export const unsupported = (reason: string): ConfigKey<null> => ({
  fallback: null,
  parse: (value, refuse) => (value === null ? null : refuse(`supported (${reason}); leave it out or null`)),
});

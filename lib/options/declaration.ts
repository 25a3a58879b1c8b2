import type { CamelCase } from "./names.js";

/**
 * One option, declared once. The command line, the programmatic type, the validation, the help and the tables of the
 * documentation are all derived from the declaration.
 */
export interface OptionDeclaration {
  /** `bigint` is a whole number that may be too large for a JavaScript number, such as a seed. */
  readonly type: "string" | "boolean" | "integer" | "number" | "bigint";
  /** What it does: a phrase without a full stop at its end. */
  readonly help: string;
  /** What stands for the value in the help, e.g. `DIR`; by default the type. */
  readonly value?: string;
  /** The only values allowed. */
  readonly choices?: readonly string[];
  readonly default?: string | boolean | number;
  /** Whether it must be given. */
  readonly required?: true;
  /** The smallest number allowed. */
  readonly min?: number;
  /** The largest number allowed. */
  readonly max?: number | bigint;
  /** It holds a key or a token: never written anywhere. */
  readonly secret?: true;
  /** Another value of it leaves the numbers of a run as they are, so that a resumed run may have another. */
  readonly mayChange?: true;
  /** The heading it is listed under in the help; by default that of all the others. */
  readonly group?: string;
}

/** Options by their names in snake_case, the spelling of diffusers' scripts. */
export type OptionDeclarations = Readonly<Record<string, OptionDeclaration>>;

/** The type of an option's value. */
export type ValueOf<D extends OptionDeclaration> = D["type"] extends "boolean"
  ? boolean
  : D["type"] extends "integer" | "number"
    ? number
    : D["type"] extends "bigint"
      ? bigint
      : D extends { readonly choices: readonly (infer Choice)[] }
        ? Choice
        : string;

/** Whether an option has a value even if none was given. */
type AlwaysPresent = { readonly default: string | boolean | number } | { readonly required: true } | Flag;
type Flag = { readonly type: "boolean" };

/**
 * The values of all options after parsing and validation, by their names in camelCase: defaults are filled in, a boolean
 * without a default is false, and what was not given and has no default is undefined.
 */
export type OptionValues<T extends OptionDeclarations> = {
  [K in keyof T & string as CamelCase<K>]: T[K] extends AlwaysPresent ? ValueOf<T[K]> : ValueOf<T[K]> | undefined;
};

/** What a program may give for the same options: the required ones, and any of the others. */
export type OptionInput<T extends OptionDeclarations> = {
  [K in keyof T & string as T[K] extends { readonly required: true } ? CamelCase<K> : never]: InputOf<T[K]>;
} & {
  [K in keyof T & string as T[K] extends { readonly required: true } ? never : CamelCase<K>]?:
    | InputOf<T[K]>
    | undefined;
};

type InputOf<D extends OptionDeclaration> = D["type"] extends "bigint" ? number | bigint : ValueOf<D>;

/** Lets the types follow from the declarations as they are written. */
export function declareOptions<const T extends OptionDeclarations>(declarations: T): T {
  return declarations;
}

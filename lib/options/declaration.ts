import type { CamelCase } from "./names.js";

/**
 * One option, declared once. The command line, the programmatic type, the validation, the help and the tables of the
 * documentation are all derived from the declaration.
 */
export interface OptionDeclaration {
  /**
   * `bigint` is a whole number that may be too large for a JavaScript number, such as a seed; `numbers` is a list, separated
   * by commas on a command line; `strings` is a list of the values of a flag that is repeated.
   */
  readonly type: "string" | "strings" | "boolean" | "integer" | "number" | "numbers" | "bigint";
  /** Description: a phrase without a full stop. */
  readonly help: string;
  /** Placeholder of the value in the help, e.g. `DIR`; by default the type. */
  readonly value?: string;
  /** The only values allowed. */
  readonly choices?: readonly string[];
  readonly default?: string | boolean | number;
  /** Whether it must be given. */
  readonly required?: true;
  /** The smallest number allowed; of a list, for each. */
  readonly min?: number;
  /** The largest number allowed; of a list, for each. */
  readonly max?: number | bigint;
  /** Holds a key or a token: never written anywhere. */
  readonly secret?: true;
  /** May be addresses, several with `::` between them, of which query and user may hold a secret: recorded without. */
  readonly addresses?: true;
  /** Does not affect a run's results, so that it may change on resume. */
  readonly mayChange?: true;
  /** Whether a program may give a {@link FactorOfStep} instead of the value. */
  readonly orFactor?: true;
  /** Its heading in the help; by default the general one. */
  readonly group?: string;
}

/**
 * A factor that depends on how far a run is.
 *
 * @param step optimizer steps done, from 0
 * @param total optimizer steps of the whole run
 * @returns a finite number of at least 0
 */
export type FactorOfStep = (step: number, total: number) => number;

/** Options by their names in snake_case, as in diffusers' scripts. */
export type OptionDeclarations = Readonly<Record<string, OptionDeclaration>>;

/** The type of an option's value. */
export type ValueOf<D extends OptionDeclaration> =
  | PlainValue<D>
  | (D extends { readonly orFactor: true } ? FactorOfStep : never);

type PlainValue<D extends OptionDeclaration> = D["type"] extends "boolean"
  ? boolean
  : D["type"] extends "integer" | "number"
    ? number
    : D["type"] extends "numbers"
      ? readonly number[]
      : D["type"] extends "bigint"
        ? bigint
        : D["type"] extends "strings"
          ? readonly ChoiceOf<D>[]
          : ChoiceOf<D>;

type ChoiceOf<D extends OptionDeclaration> = D extends { readonly choices: readonly (infer Choice)[] }
  ? Choice
  : string;

/** Whether an option has a value even if none was given. */
type AlwaysPresent = { readonly default: string | boolean | number } | { readonly required: true } | Flag;
type Flag = { readonly type: "boolean" };

/**
 * The values of all options after parsing and validation, by their names in camelCase: defaults are filled in, a
 * boolean without a default is false, and any other missing option is undefined.
 */
export type OptionValues<T extends OptionDeclarations> = {
  [K in keyof T & string as CamelCase<K>]: T[K] extends AlwaysPresent ? ValueOf<T[K]> : ValueOf<T[K]> | undefined;
};

/** The options that a program passes: the required ones, and any of the others. */
export type OptionInput<T extends OptionDeclarations> = {
  [K in keyof T & string as T[K] extends { readonly required: true } ? CamelCase<K> : never]: InputOf<T[K]>;
} & {
  [K in keyof T & string as T[K] extends { readonly required: true } ? never : CamelCase<K>]?:
    | InputOf<T[K]>
    | undefined;
};

type InputOf<D extends OptionDeclaration> = D["type"] extends "bigint" ? number | bigint : ValueOf<D>;

/** Infers literal types from the declarations. */
export function declareOptions<const T extends OptionDeclarations>(declarations: T): T {
  return declarations;
}

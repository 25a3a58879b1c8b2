import { isDecimal } from "../core/decimal.js";
import { InstructPix2PixError } from "../core/errors.js";
import { translated, unknownOption } from "../core/known-options.js";
import type { OptionDeclarations, OptionValues } from "./declaration.js";
import { camelCase, nearestName, snakeCase } from "./names.js";
import { type Checked, checkValue, type OptionValue, parseValue } from "./value.js";

/**
 * Parses a command line as Python's argparse does, but for abbreviations, which are not accepted: `--name value` and
 * `--name=value`, in snake_case or kebab-case, a negative number or a text with white space as a value, the last of
 * repeated flags, or all of them for a list of strings. A boolean is `--name`, `--no_name` or `--name=false`.
 *
 * @throws `ERR_USAGE` naming the argument that is unknown, missing, or has no or an invalid value.
 */
export function parseArguments<T extends OptionDeclarations>(
  declarations: T,
  argv: readonly string[],
): OptionValues<T> {
  const given = new Map<string, OptionValue>();
  for (let i = 0; i < argv.length; i++) {
    const argument = argv[i]!;
    if (argument === "--") {
      if (i + 1 < argv.length) throw unexpected(argv[i + 1]!);
      break;
    }
    const { flag, attached } = splitFlag(argument);
    const { name, negated } = findOption(declarations, flag);
    const declaration = declarations[name]!;
    if (declaration.type === "boolean") {
      const value = attached === undefined ? true : (take(`--${flag}`, parseValue(attached, declaration)) as boolean);
      given.set(name, value !== negated);
      continue;
    }
    const text = attached ?? argv[++i];
    if (text === undefined || (attached === undefined && looksLikeFlag(text)))
      throw usage(
        text === undefined
          ? `--${flag} needs a value`
          : `--${flag} needs a value; one that begins with a dash is given as --${flag}=${text}`,
      );
    const value = take(`--${flag}`, parseValue(text, declaration));
    const before = declaration.type === "strings" ? ((given.get(name) ?? []) as readonly string[]) : undefined;
    given.set(name, before ? [...before, ...(value as readonly string[])] : value);
  }
  return complete(declarations, given, (missing) =>
    usage(`${missing.map((name) => `--${name}`).join(", ")} must be given`),
  );
}

/**
 * Validates options passed by a program against the same declarations, and fills in the defaults.
 *
 * @throws `ERR_INVALID_ARGUMENT` naming the option that is unknown, invalid or missing.
 */
export function resolveOptions<T extends OptionDeclarations>(
  declarations: T,
  input: Readonly<Record<string, unknown>>,
): OptionValues<T> {
  const invalid = (message: string) => new InstructPix2PixError("ERR_INVALID_ARGUMENT", message);
  const byCamelCase = new Map(Object.keys(declarations).map((name) => [camelCase(name), name]));
  const given = new Map<string, OptionValue>();
  for (const [key, value] of Object.entries(input)) {
    const name = byCamelCase.get(key);
    if (name === undefined) throw unknownOption(key, [...byCamelCase.keys()]);
    if (value === undefined) continue;
    const checked = checkValue(value, declarations[name]!);
    if ("problem" in checked) throw invalid(`${key} ${checked.problem}`);
    given.set(name, checked.value);
  }
  return complete(declarations, given, (missing) => invalid(`${missing.map(camelCase).join(", ")} must be given`));
}

function complete<T extends OptionDeclarations>(
  declarations: T,
  given: ReadonlyMap<string, OptionValue>,
  missingError: (names: string[]) => Error,
): OptionValues<T> {
  const missing = Object.keys(declarations).filter((name) => declarations[name]!.required && !given.has(name));
  if (missing.length > 0) throw missingError(missing);
  const values = Object.entries(declarations).map(([name, declaration]) => {
    const fallback = declaration.default ?? (declaration.type === "boolean" ? false : undefined);
    return [camelCase(name), given.get(name) ?? fallback];
  });
  return Object.fromEntries(values) as OptionValues<T>;
}

/** `--a-b=c` → the flag `a-b` as typed, and the attached value. */
function splitFlag(argument: string): { flag: string; attached: string | undefined } {
  if (!argument.startsWith("--")) throw unexpected(argument);
  const equals = argument.indexOf("=");
  if (equals < 0) return { flag: argument.slice(2), attached: undefined };
  return { flag: argument.slice(2, equals), attached: argument.slice(equals + 1) };
}

function findOption(declarations: OptionDeclarations, flag: string): { name: string; negated: boolean } {
  const name = snakeCase(flag);
  if (Object.hasOwn(declarations, name)) return { name, negated: false };
  const positive = /^no_(.+)$/.exec(name)?.[1];
  if (positive !== undefined && Object.hasOwn(declarations, positive) && declarations[positive]!.type === "boolean")
    return { name: positive, negated: true };
  throw usage(`unknown option --${flag}${didYouMean(name, Object.keys(declarations))}`);
}

/** A lone dash, a negative number and a text with white space are values, as for argparse. */
function looksLikeFlag(text: string): boolean {
  return text.startsWith("-") && text !== "-" && !isDecimal(text) && !/\s/.test(text);
}

function take(name: string, checked: Checked): OptionValue {
  if ("problem" in checked) throw usage(`${name} ${checked.problem}`);
  return checked.value;
}

function didYouMean(name: string, known: Iterable<string>): string {
  const names = [...known];
  const byCamelCase = new Map(names.map((each) => [camelCase(each), each]));
  const other = translated(name, [...byCamelCase.keys()]);
  const meant = other === undefined ? nearestName(name, names) : byCamelCase.get(other);
  return meant === undefined ? "" : `; did you mean --${meant}?`;
}

function unexpected(argument: string): InstructPix2PixError {
  return usage(`unexpected argument ${JSON.stringify(argument)}; options begin with --`);
}

function usage(message: string): InstructPix2PixError {
  return new InstructPix2PixError("ERR_USAGE", message);
}

import { nearestName, underscored } from "../options/names.js";
import { InstructPix2PixError } from "./errors.js";
import { NOT_NEEDED, RENAMED } from "./python-names.js";
import { quote } from "./quote.js";

/** The names of an options object: true for those that messages may suggest, false for internal ones. */
export type OptionNames<T> = { readonly [Name in keyof T]-?: boolean };

/**
 * Declares the names of an options object beside its interface. The compiler refuses a list that lacks a name, and one
 * with a name too many, also in what is spread into it.
 */
export const optionNames =
  <T>() =>
  <N extends OptionNames<T> & Record<Exclude<keyof N, keyof T>, never>>(names: N): OptionNames<T> =>
    names;

/**
 * Checks an optional options object.
 *
 * @throws `ERR_INVALID_ARGUMENT` for what is no object, and for an unknown name, suggesting the right one
 */
export function checkOptions<T extends object>(options: T | undefined, known: OptionNames<NoInfer<T>>): Partial<T> {
  if (options === undefined) return {};
  checkKnown(options, known);
  return options;
}

/** As {@link checkOptions}, for names that belong to no single type. */
export function checkKnown(options: unknown, known: OptionNames<object>): asserts options is object {
  if (typeof options !== "object" || options === null)
    throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", notAnObject(options, shownNames(known)));
  for (const [name, value] of Object.entries(options))
    if (value !== undefined && !Object.hasOwn(known, name)) throw unknownOption(name, shownNames(known));
}

function notAnObject(given: unknown, known: readonly string[]): string {
  const some = known.length > 3 ? [...known.slice(0, 3), "…"] : known;
  const what = typeof given === "string" ? quote(given) : given === null ? "null" : `a ${typeof given}`;
  return `options must be an object${known.length > 0 ? ` with ${some.join(", ")}` : ""}, not ${what}`;
}

/** The error for a name that none of the known ones is, with the one that was probably meant. */
export function unknownOption(name: string, known: readonly string[]): InstructPix2PixError {
  return new InstructPix2PixError("ERR_INVALID_ARGUMENT", `unknown option ${quote(name)}${remedy(name, known)}`);
}

function remedy(name: string, known: readonly string[]): string {
  const snake = underscored(name).replaceAll("-", "_");
  const meant = known.find((each) => plain(each) === plain(name)) ?? translated(snake, known);
  if (meant !== undefined) return `; did you mean ${meant}?`;
  if (Object.hasOwn(NOT_NEEDED, snake)) return `: ${NOT_NEEDED[snake]}, so leave it out`;
  const nearest = nearestName(name, known);
  if (nearest !== undefined) return `; did you mean ${nearest}?`;
  return known.length === 0 ? "; there are no options here" : `; the options are ${known.join(", ")}`;
}

/** An option by its name in Python, if it is one of these. */
export function translated(snake: string, known: readonly string[]): string | undefined {
  const name = Object.hasOwn(RENAMED, snake) ? RENAMED[snake]! : undefined;
  return name !== undefined && known.includes(name) ? name : undefined;
}

/** A name without what spellings differ in: `num_inference_steps`, `num-inference-steps` and `numInferenceSteps`. */
function plain(name: string): string {
  return name.replace(/[_-]/g, "").toLowerCase();
}

function shownNames(known: OptionNames<object>): string[] {
  return Object.entries(known).flatMap(([name, shown]) => (shown ? [name] : []));
}

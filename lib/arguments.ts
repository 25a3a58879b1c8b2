import { InstructPix2PixError } from "./errors.js";

/** Options that may be left out; anything that is no object is refused. */
export function checkOptions<T extends object>(options: T | undefined): Partial<T> {
  if (options === undefined) return {};
  if (typeof options !== "object" || options === null)
    throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", "options must be an object");
  return options;
}

/** Nobody means a longer one, and a sparse one would take minutes to walk through. */
const MAX_LIST_LENGTH = 2 ** 26;

/** A list; the message names the argument. */
export function checkList<T>(value: readonly T[], name: string): readonly T[] {
  if (!Array.isArray(value) || value.length > MAX_LIST_LENGTH)
    throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", `${name} must be a list, not ${describe(value)}`);
  return value;
}

/** What a value is, in a few words that fit into a message. */
export function describe(value: unknown): string {
  if (Array.isArray(value))
    return value.length > MAX_LIST_LENGTH ? `one of length ${value.length}` : "a list of other things";
  if (typeof value === "function") return "a function";
  if (typeof value === "string") return JSON.stringify(value.length > 40 ? `${value.slice(0, 40)}…` : value);
  if (typeof value !== "object" || value === null) return String(value);
  return `an object of class ${Object.prototype.toString.call(value).slice(8, -1)}`;
}

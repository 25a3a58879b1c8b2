import { InstructPix2PixError } from "./errors.js";

/** Longer lists are certainly mistakes, and iterating over a sparse one would take minutes. */
const MAX_LIST_LENGTH = 2 ** 26;

/** Checks that an argument is a list; the error names it. */
export function checkList<T>(value: readonly T[], name: string): readonly T[] {
  if (!Array.isArray(value) || value.length > MAX_LIST_LENGTH)
    throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", `${name} must be a list, not ${describe(value)}`);
  return value;
}

/** Describes a value briefly, for error messages. */
export function describe(value: unknown): string {
  if (Array.isArray(value))
    return value.length > MAX_LIST_LENGTH ? `one of length ${value.length}` : "a list of other things";
  if (typeof value === "function") return "a function";
  if (typeof value === "string") return JSON.stringify(value.length > 40 ? `${value.slice(0, 40)}…` : value);
  if (typeof value !== "object" || value === null) return String(value);
  return `an object of class ${Object.prototype.toString.call(value).slice(8, -1)}`;
}

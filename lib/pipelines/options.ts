import { InstructPix2PixError } from "../core/errors.js";

/** Refuses an argument of a pipeline, naming it. */
export function refuseArgument(name: string, value: unknown, expected: string): never {
  const shown = typeof value === "string" ? JSON.stringify(value) : String(value);
  throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", `${name} must be ${expected}, not ${shown}`);
}

export function checkFinite(name: string, value: unknown): number {
  if (typeof value !== "number" || !Number.isFinite(value)) refuseArgument(name, value, "a finite number");
  return value;
}

export function checkCount(name: string, value: unknown, max = Number.MAX_SAFE_INTEGER): number {
  if (!Number.isSafeInteger(value) || (value as number) < 1 || (value as number) > max)
    refuseArgument(
      name,
      value,
      max === Number.MAX_SAFE_INTEGER ? "an integer of at least 1" : `an integer in 1..${max}`,
    );
  return value as number;
}

/** One prompt or several; never an empty list. */
export function checkTexts(name: string, value: unknown): readonly string[] {
  const texts = typeof value === "string" ? [value] : value;
  if (!Array.isArray(texts) || texts.length === 0 || texts.some((text) => typeof text !== "string"))
    refuseArgument(name, value, "a string or a list of strings");
  return texts;
}

export function checkFraction(name: string, value: unknown): number {
  const number = checkFinite(name, value);
  if (number < 0 || number > 1) refuseArgument(name, value, "in 0..1");
  return number;
}

export function oneOf<T>(name: string, value: T, known: readonly T[]): T {
  if (!known.includes(value)) {
    const names = known.map((each) => JSON.stringify(each));
    refuseArgument(name, value, `${names.slice(0, -1).join(", ")} or ${names.at(-1)}`);
  }
  return value;
}

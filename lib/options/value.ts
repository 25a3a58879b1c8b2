import { isDecimal } from "../core/decimal.js";
import type { FactorOfStep, OptionDeclaration } from "./declaration.js";

/** A valid value of an option. */
export type OptionValue = string | boolean | number | bigint | readonly number[] | readonly string[] | FactorOfStep;

/**
 * The reason why a value is invalid, continuing a sentence that begins with the option's name; or the converted value.
 */
export type Checked = { readonly value: OptionValue } | { readonly problem: string };

/** Parses the text of a flag's value. */
export function parseValue(text: string, declaration: OptionDeclaration): Checked {
  const { type } = declaration;
  const shown = JSON.stringify(text);
  switch (type) {
    case "string": {
      const { orFactor: _, ...rest } = declaration;
      return checkValue(text, rest);
    }
    case "strings":
      return checkValue([text], declaration);
    case "boolean": {
      const word = text.toLowerCase();
      if (word === "true" || word === "1") return { value: true };
      if (word === "false" || word === "0") return { value: false };
      return { problem: `takes no value, or true or false, not ${shown}` };
    }
    case "bigint":
    case "integer":
      if (!/^[+-]?\d{1,100}$/.test(text))
        return { problem: `takes a whole number${rangeOf(declaration)}, not ${shown}` };
      return checkValue(type === "bigint" ? BigInt(text.replace(/^\+/, "")) : Number(text), declaration);
    case "number":
      if (!isDecimal(text) || !Number.isFinite(Number(text)))
        return { problem: `takes a number${rangeOf(declaration)}, not ${shown}` };
      return checkValue(Number(text), declaration);
    case "numbers": {
      const items = text.split(",").map((item) => item.trim());
      if (!items.every((item) => isDecimal(item)))
        return { problem: `takes a list of numbers${rangeOf(declaration)}, separated by commas, not ${shown}` };
      return checkValue(items.map(Number), declaration);
    }
  }
}

/** Checks a value passed by a program or converted from a flag's text. */
export function checkValue(given: unknown, declaration: OptionDeclaration): Checked {
  const { type, choices, orFactor } = declaration;
  if (orFactor && typeof given === "function") return { value: given as FactorOfStep };
  const problem = (expected: string): Checked => ({
    problem: `takes ${expected}${orFactor ? ", or a function (step, total) => factor" : ""}, not ${show(given)}`,
  });
  switch (type) {
    case "string":
      return checkString(given, choices, problem);
    case "strings": {
      if (!Array.isArray(given) || given.length === 0) return problem("a list of strings");
      const wrong = given.map((item) => checkString(item, choices, problem)).find((item) => "problem" in item);
      return wrong ?? { value: [...(given as readonly string[])] };
    }
    case "boolean":
      return typeof given === "boolean" ? { value: given } : problem("true or false");
    case "integer":
      if (!Number.isSafeInteger(given) || !inRange(given as number, declaration))
        return problem(`a whole number${rangeOf(declaration)}`);
      return { value: given as number };
    case "number":
      if (!isNumber(given, declaration)) return problem(`a number${rangeOf(declaration)}`);
      return { value: given };
    case "numbers":
      if (!Array.isArray(given) || given.length === 0 || !given.every((item) => isNumber(item, declaration)))
        return problem(`a list of numbers${rangeOf(declaration)}`);
      return { value: [...(given as readonly number[])] };
    case "bigint": {
      const whole = Number.isSafeInteger(given) || typeof given === "bigint";
      if (!whole || !inRange(given as number | bigint, declaration))
        return problem(`a whole number${rangeOf(declaration)}`);
      return { value: BigInt(given as number | bigint) };
    }
  }
}

function checkString(
  given: unknown,
  choices: readonly string[] | undefined,
  problem: (expected: string) => Checked,
): Checked {
  if (typeof given !== "string") return problem("a string");
  if (given.includes("\0")) return problem("a string without NUL characters");
  if (choices && !choices.includes(given)) return problem(`one of ${choices.join(", ")}`);
  return { value: given };
}

/** The limits of an option's value in words, with a leading space; empty if there are none. */
export function rangeOf({ min, max }: OptionDeclaration): string {
  if (min !== undefined && max !== undefined) return ` from ${min} to ${max}`;
  if (min !== undefined) return ` of at least ${min}`;
  return max === undefined ? "" : ` of at most ${max}`;
}

function isNumber(given: unknown, declaration: OptionDeclaration): given is number {
  return typeof given === "number" && Number.isFinite(given) && inRange(given, declaration);
}

function inRange(value: number | bigint, { min, max }: OptionDeclaration): boolean {
  return (min === undefined || value >= min) && (max === undefined || value <= max);
}

function show(value: unknown): string {
  if (Array.isArray(value)) return `[${value.slice(0, 10).map(show).join(", ")}${value.length > 10 ? ", …" : ""}]`;
  if (typeof value === "string") return JSON.stringify(value.length > 80 ? `${value.slice(0, 77)}…` : value);
  return typeof value === "object" && value !== null ? "an object" : String(value);
}

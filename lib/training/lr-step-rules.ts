import { isDecimal } from "../core/decimal.js";
import { InstructPix2PixError } from "../core/errors.js";

/** The rules of the schedule `piecewise_constant`, in order. */
export interface StepRules {
  /** Each applies until its `end`, from the end of the previous one. */
  readonly pieces: readonly { readonly multiplier: number; readonly end: number }[];
  /** Applies after the end of the last piece. */
  readonly last: number;
}

/**
 * Parses rules such as `1:10,0.1:20,0.01:30,0.005`: each multiplier with the step at which it ends, and finally the
 * multiplier for the rest. As in diffusers the order of the rules does not matter, the last of duplicates applies, and
 * white space around numbers is allowed.
 *
 * @throws `ERR_INVALID_ARGUMENT` naming the rule
 */
export function parseStepRules(text: string): StepRules {
  const rules = text.split(",");
  const last = parseMultiplier(rules.pop()!, text);
  const byEnd = new Map<number, number>();
  for (const rule of rules) {
    const parts = rule.split(":");
    if (parts.length !== 2) throw invalid(text, `"${rule}" is not of the form MULTIPLIER:STEP`);
    byEnd.set(parseStep(parts[1]!, text), parseMultiplier(parts[0]!, text));
  }
  const pieces = [...byEnd].map(([end, multiplier]) => ({ multiplier, end })).sort((a, b) => a.end - b.end);
  return { pieces, last };
}

function parseStep(text: string, all: string): number {
  const step = /^\+?\d+(_\d+)*$/.test(text.trim()) ? Number(text.trim().replaceAll("_", "")) : Number.NaN;
  if (!Number.isSafeInteger(step) || step < 1)
    throw invalid(all, `"${text}" is not a step, a whole number of at least 1`);
  return step;
}

function parseMultiplier(text: string, all: string): number {
  const number = isDecimal(text.trim()) ? Number(text) : Number.NaN;
  if (!Number.isFinite(number) || number < 0)
    throw invalid(all, `"${text}" is not a multiplier, a number of at least 0`);
  return number;
}

function invalid(all: string, what: string): InstructPix2PixError {
  return new InstructPix2PixError(
    "ERR_INVALID_ARGUMENT",
    `the learning-rate rules "${all}" cannot be read: ${what}; write them like 1:10,0.1:20,0.01`,
  );
}

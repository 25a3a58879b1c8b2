import { InstructPix2PixError } from "../errors.js";

/** A shell pattern as Python's `fnmatch` reads it: `*` and `?` match slashes too, `[…]` a set, `[!…]` its complement. */
function toRegExp(pattern: string): RegExp {
  // As in huggingface_hub, a folder means all that is in it.
  const whole = pattern.endsWith("/") ? `${pattern}*` : pattern;
  let source = "";
  for (let at = 0; at < whole.length; at++) {
    const character = whole[at]!;
    const end = character === "[" ? whole.indexOf("]", at + (whole[at + 1] === "!" ? 3 : 2)) : -1;
    if (character === "*") source += ".*";
    else if (character === "?") source += ".";
    else if (end > 0) {
      const negated = whole[at + 1] === "!";
      const set = whole.slice(at + (negated ? 2 : 1), end).replace(/[\\\]^[]/g, "\\$&");
      source += `[${negated ? "^" : ""}${set}]`;
      at = end;
    } else source += character.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&");
  }
  try {
    return new RegExp(`^(?:${source})$`, "s");
  } catch (cause) {
    const what = `${JSON.stringify(pattern)} is not a pattern for file names`;
    throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", what, { cause });
  }
}

/**
 * The names that match any of the patterns.
 *
 * @throws `ERR_INVALID_ARGUMENT` for what is no pattern
 */
export function matching(names: Iterable<string>, patterns: readonly string[]): string[] {
  const tests = patterns.map(toRegExp);
  return [...names].filter((name) => tests.some((test) => test.test(name)));
}

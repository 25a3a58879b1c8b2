import { namesByPattern } from "../files/glob/filter.js";
import { anyCharacter, Pattern, wildcardTokens } from "../files/glob/pattern.js";

/** A shell pattern as Python's `fnmatch` reads it: `*` and `?` match slashes too, `[…]` a set, `[!…]` its complement. */
export function parseShellPattern(pattern: string): Pattern {
  return new Pattern(wildcardTokens(pattern, anyCharacter));
}

/**
 * The names that match any of the patterns.
 *
 * @throws `ERR_INVALID_ARGUMENT` for too many, too long or too costly patterns
 */
export function matching(names: Iterable<string>, patterns: readonly string[]): string[] {
  const all = [...names];
  // As in huggingface_hub, a folder means all that is in it.
  const whole = patterns.map((pattern) => (pattern.endsWith("/") ? `${pattern}*` : pattern));
  const found = namesByPattern(all, whole, { parse: parseShellPattern, code: "ERR_INVALID_ARGUMENT" });
  const matched = new Set(found.flat());
  return all.filter((name) => matched.has(name));
}

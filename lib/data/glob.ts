import { quote } from "../core/quote.js";
import { namesByPattern, type PatternLanguage } from "../files/glob/filter.js";
import { anyCharacter, literalToken, notSlash, Pattern, type Token, wildcardTokens } from "../files/glob/pattern.js";
import { datasetError } from "./errors.js";

/**
 * A pattern for paths as fsspec's `glob` reads it, which the `datasets` library finds its files with: `*` and `?` stay
 * within a folder, `**` is any number of folders, `[…]` a set, `[!…]` its complement.
 *
 * @throws `ERR_DATASET` for an invalid pattern
 */
export function parseGlob(pattern: string): Pattern {
  const parts = pattern.split("/");
  return new Pattern(parts.flatMap((part, i) => partTokens(part, i === parts.length - 1, pattern)));
}

const LANGUAGE: PatternLanguage = { parse: parseGlob, code: "ERR_DATASET" };

function partTokens(part: string, last: boolean, pattern: string): Token[] {
  if (part === "**") return last ? [{ kind: "many", test: anyCharacter }] : [{ kind: "folders" }];
  if (part.includes("**")) throw datasetError(`${quote(pattern)}: ** can only be a whole part of a path`);
  const tokens = wildcardTokens(part, notSlash);
  return [
    // A path segment has at least one character.
    ...(part === "*" ? [{ kind: "one", test: notSlash } as const] : []),
    ...tokens,
    ...(last ? [] : [literalToken("/")]),
  ];
}

/** Python's order of strings: by code points, where JavaScript's is by UTF-16 units. */
export function byCodePoints(a: string, b: string): number {
  if (a === b) return 0;
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const [x, y] = [a.charCodeAt(i), b.charCodeAt(i)];
    if (x === y) continue;
    // Surrogates, which stand for the highest code points, lie below some other units.
    const [high, low] = [x, y].map((unit) => (unit >= 0xd800 && unit <= 0xdfff ? unit + 0x10000 : unit));
    return high! - low!;
  }
  return a.length - b.length;
}

/** Path segments that the `datasets` library ignores unless a pattern names them: hidden ones, `__pycache__`. */
function unusualParts(path: string): { hidden: number; special: number } {
  const parts = path.split("/");
  return {
    hidden: parts.filter((part) => /^\.(?!\.*$)/.test(part)).length,
    special: parts.slice(0, -1).filter((part) => part.startsWith("__")).length,
  };
}

/**
 * For each pattern those of the sorted paths that match, without hidden files and folders that the pattern does not
 * name.
 *
 * @throws `ERR_DATASET` for invalid, too many, too long or too costly patterns
 */
export function matchPatterns(paths: readonly string[], patterns: readonly string[]): string[][] {
  return namesByPattern(paths, patterns, LANGUAGE).map((found, i) => {
    const named = unusualParts(patterns[i]!);
    return found.filter((path) => {
      const { hidden, special } = unusualParts(path);
      return hidden === named.hidden && special === named.special;
    });
  });
}

/** As {@link matchPatterns}, for one pattern. */
export function matchPaths(paths: readonly string[], pattern: string): string[] {
  return matchPatterns(paths, [pattern])[0]!;
}
